// Wave fronts without a network: when a front arrives at each cell of a grid, from what a few
// prompts say of it, and its outline in every map.
//
// The model: an object passes each cell once, as a pulse that has the same course of time
// everywhere but for its height and its time of arrival. The times of arrival vary smoothly; the
// course is learnt from the maps. What is looked for is the most probable field of arrival times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "parallel_for.hpp"

namespace iosfast {

// Offsets from the peak, in maps, at which the course of a pulse is kept: as much before it as
// after it, since fronts may also be followed back in time.
inline constexpr double kPulseStep = 0.5;
inline constexpr std::size_t kPulseSize = 49;
inline constexpr double kPulseFirst = -12.0;
// Of what comes before the peak (after it, back in time), only so much is learnt.
inline constexpr double kPulseLead = 3.0;

// Maps of cells: means of the change over squares of pixels, (maps, rows, columns).
struct FrontCells {
    const float* change;
    const std::uint8_t* inside;  // (rows, columns): cells to look at
    std::size_t maps, rows, columns;
    std::span<const double> times;  // of the maps, in median distances of maps
    double reach;                   // cells that a front may move in one unit of time
    double independence;            // independent values of noise that a cell stands for
    bool backwards = false;         // whether the maps are given from the last to the first
};

// What is said of an object in one map, cell by cell.
enum class Said : std::uint8_t { nothing, wave, no_wave };
struct FrontHint {
    std::size_t map;
    std::vector<Said> cells;  // (rows, columns)
};

// An object as the maps after its first hint tell it.
struct FrontTrack {
    std::vector<float> arrival;         // unit of `times`; (rows, columns)
    std::vector<float> height;          // of the pulse, in the direction of its sign
    std::vector<std::uint8_t> reached;  // cells that the object passes
    std::vector<double> pulse;          // course of a pulse, peak 1, at the offsets
    double direction = 0;               // 1 if it brightens, -1 if it darkens; 0: nothing found
    double typical = 0;                 // median height
    double evidence = 0;                // log likelihood of the object against noise
};

// Follow objects, each from its hints, which are ordered by map; none without a wave. Objects
// explain the maps together: where several overlap, what one explains is not seen by others.
// `noise` gets the robust standard deviation of each map about what is explained.
std::vector<FrontTrack> follow_fronts(const FrontCells& cells,
                                      const std::vector<std::vector<FrontHint>>& objects,
                                      std::span<double> noise, unsigned threads, const Poll& poll);

// Maps of pixels, as `FrontCells` was made of: cells of `side` pixels.
struct FrontMaps {
    const float* change;  // (maps, height, width)
    std::size_t maps, height, width, side;
    std::span<const double> centres;  // subtracted from each map
    std::span<const double> times, noise;
};

// Outline the objects: masks, uint8 (objects, maps, height, width), and support, (objects, maps):
// 1 where a map shows the object just as the mask, 0 where it does not at all, -1 without a mask.
// Maps before first[object] stay empty.
void draw_fronts(const FrontMaps& maps, const std::vector<FrontTrack>& tracks,
                 const std::vector<std::size_t>& first, std::uint8_t* masks, double* support,
                 unsigned threads, const Poll& poll);

// Cells of side x side pixels: which hold pixels that are inside (not 0), and of these the mean in
// each map, less the median of all cells of that map; 0 in cells without any. Throws
// std::invalid_argument if a pixel is not finite, or 1e12 or more.
void front_cells(const float* change, std::size_t maps, std::size_t height, std::size_t width,
                 const std::uint8_t* inside, std::size_t side, std::uint8_t* cells_inside,
                 double* centres, float* cells, unsigned threads);

}  // namespace iosfast

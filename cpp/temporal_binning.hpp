// Mean of successive frames, rounded half away from zero to uint16.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "frame_source.hpp"
#include "parallel_for.hpp"

namespace iosfast {

// A uint32 holds the sum of this many frames at full scale, and not of one more.
inline constexpr std::uint64_t kMaxFramesPerBin = 65537;

// Means of the frames [edges[b], edges[b + 1]) for every bin b, into `out` (bins x pixels).
// Poll is given the number of frames done. Throws std::invalid_argument if the edges do not
// increase, leave the source, or make a bin of more than kMaxFramesPerBin frames.
void bin_frames(const FrameSource& source, std::span<const std::int64_t> edges, std::uint16_t* out,
                unsigned threads, const Poll& poll);

// The same mean, one push at a time.
class BinAccumulator {
  public:
    BinAccumulator(std::size_t height, std::size_t width);
    // Adds frames [first, last) of the source. Throws std::invalid_argument if there are too many;
    // if reading fails, all frames added so far are forgotten.
    void add(const FrameSource& source, std::size_t first, std::size_t last, unsigned threads);
    // Writes the mean of all frames added since the last call and starts anew.
    void mean(std::uint16_t* out);
    std::uint64_t frames() const { return frames_; }

    const std::size_t height, width;

  private:
    void reset();

    std::uint64_t frames_ = 0;
    std::vector<std::uint32_t> sums_;
};

}  // namespace iosfast

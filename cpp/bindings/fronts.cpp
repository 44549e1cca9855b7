// Wave fronts: from maps and hints to masks, in one call.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "border.hpp"
#include "front.hpp"
#include "front_labels.hpp"

namespace iosfast {

namespace {

using Doubles = py::array_t<double, py::array::c_style>;

std::vector<std::vector<FrontHint>> hints_of(const Integers& places, const Bytes& said,
                                             std::size_t objects, std::size_t maps,
                                             std::size_t cells) {
    std::vector<std::vector<FrontHint>> hints(objects);
    const auto at = places.unchecked<2>();
    for (py::ssize_t i = 0; i < places.shape(0); ++i) {
        const std::int64_t object = at(i, 0), map = at(i, 1);
        need(object >= 0 && static_cast<std::size_t>(object) < objects, "no such object in places");
        need(map >= 0 && static_cast<std::size_t>(map) < maps, "no such map in places");
        auto& list = hints[static_cast<std::size_t>(object)];
        need(list.empty() || list.back().map < static_cast<std::size_t>(map),
             "the hints of an object must be ordered by map, one a map");
        FrontHint hint{static_cast<std::size_t>(map), std::vector<Said>(cells)};
        const std::uint8_t* from = said.data() + static_cast<std::size_t>(i) * cells;
        for (std::size_t k = 0; k < cells; ++k) {
            need(from[k] <= 2, "said must be 0, 1 or 2");
            hint.cells[k] = static_cast<Said>(from[k]);
        }
        list.push_back(std::move(hint));
    }
    for (const auto& list : hints)
        need(!list.empty() && std::find(list.front().cells.begin(), list.front().cells.end(),
                                        Said::wave) != list.front().cells.end(),
             "the first hint of every object must say where it is");
    return hints;
}

}  // namespace

void bind_fronts(py::module_& m) {
    m.def(
        "follow_fronts",
        [](const Images32& change, const Bytes& inside, const Doubles& times, std::size_t side,
           double reach_px, double independence, const Integers& places, const Bytes& said,
           std::size_t objects, bool backwards, Bytes masks, const Progress& progress,
           unsigned threads) {
            need_stack(change, "change");
            const py::ssize_t t = change.shape(0), h = change.shape(1), w = change.shape(2);
            need_shape(inside, "inside", {h, w});
            need_shape(times, "times", {t});
            need(side >= 1 && side <= 64, "side must be 1 to 64");
            need(reach_px > 0 && reach_px <= 1e9, "reach_px must be above 0 and at most 1e9");
            need(std::isfinite(independence) && independence > 0, "independence must be above 0");
            need(objects >= 1 && objects <= 1000, "objects must be 1 to 1000");
            const auto maps = static_cast<std::size_t>(t);
            const auto height = static_cast<std::size_t>(h), width = static_cast<std::size_t>(w);
            const std::size_t rows = (height + side - 1) / side;
            const std::size_t columns = (width + side - 1) / side;
            need(places.ndim() == 2 && places.shape(1) == 2,
                 "places must have shape (n, 2), not " + shape_of(places));
            need_shape(said, "said", {places.shape(0), signed_size(rows), signed_size(columns)});
            need_shape(masks, "masks", {signed_size(objects), t, h, w});
            const float* pixels = aligned(change.data(), "change");
            const double* when = aligned(times.data(), "times");
            for (std::size_t i = 0; i < maps; ++i)
                need(std::isfinite(when[i]) && (i == 0 || when[i] > when[i - 1]),
                     "times must be finite and increase");
            aligned(places.data(), "places");
            const auto hints = hints_of(places, said, objects, maps, rows * columns);
            const std::uint8_t* within = inside.data();
            std::uint8_t* masks_out = writable(masks, "masks");

            Images32 arrival({signed_size(objects), signed_size(rows), signed_size(columns)});
            Doubles support({signed_size(objects), t}), noise(t),
                facts({signed_size(objects), py::ssize_t{3}});
            float* arrival_out = arrival.mutable_data();
            double* support_out = support.mutable_data();
            double* noise_out = noise.mutable_data();
            double* facts_out = facts.mutable_data();
            const Poll poll = poll_for(progress);
            {
                const py::gil_scoped_release release;
                std::vector<float> cells(maps * rows * columns);
                std::vector<double> centres(maps);
                std::vector<std::uint8_t> cells_inside(rows * columns);
                front_cells(pixels, maps, height, width, within, side, cells_inside.data(),
                            centres.data(), cells.data(), threads);
                const FrontCells grid{cells.data(),
                                      cells_inside.data(),
                                      maps,
                                      rows,
                                      columns,
                                      {when, maps},
                                      reach_px / static_cast<double>(side),
                                      independence,
                                      backwards};
                const auto tracks = follow_fronts(grid, hints, {noise_out, maps}, threads, poll);
                std::vector<std::size_t> first(objects);
                for (std::size_t o = 0; o < objects; ++o) {
                    first[o] = hints[o].front().map;
                    const FrontTrack& track = tracks[o];
                    for (std::size_t i = 0; i < rows * columns; ++i)
                        arrival_out[o * rows * columns + i] =
                            track.reached[i] ? track.arrival[i] : std::nanf("");
                    facts_out[3 * o] = track.direction;
                    facts_out[3 * o + 1] = track.typical;
                    facts_out[3 * o + 2] = track.evidence;
                }
                draw_fronts(
                    {pixels, maps, height, width, side, centres, {when, maps}, {noise_out, maps}},
                    tracks, first, masks_out, support_out, threads, poll);
            }
            return py::make_tuple(support, arrival, facts, noise);
        },
        "change"_a.noconvert(), "inside"_a.noconvert(), "times"_a.noconvert(), "side"_a,
        "reach_px"_a, "independence"_a, "places"_a.noconvert(), "said"_a.noconvert(), "objects"_a,
        "backwards"_a, "masks"_a.noconvert(), "progress"_a.none(true) = py::none(), "threads"_a = 0,
        "Outline objects in maps, float32 (T, Y, X), from hints; writes masks, uint8\n"
        "(objects, T, Y, X).\n\n"
        "inside is uint8 (Y, X); times, float64 (T,), are in units of the distance of maps, in\n"
        "which a front moves at most reach_px. Hint i is of object places[i, 0] in map\n"
        "places[i, 1] (int64); said[i], uint8 (cells down, cells across) of side x side pixels,\n"
        "is 0 (nothing), 1 (the object) or 2 (not). independence: how many independent values of\n"
        "noise a cell stands for. backwards: whether maps are given last first. Returns support, "
        "float64 (objects, T), -1 without a mask;\n"
        "arrival, float32 (objects, cells down, cells across), NaN where the object never is; "
        "sign,\n"
        "typical height and evidence, float64 (objects, 3); noise of each map, float64 (T,).");

    m.def(
        "believe",
        [](const Images32& cost, float step, float longest, float edge, int sweeps) {
            need_stack(cost, "cost");
            need(cost.shape(2) >= 2, "cost must be of a label at least, and of none");
            need(std::isfinite(step) && step > 0, "step must be above 0");
            need(std::isfinite(longest) && longest >= 0, "longest must be at least 0");
            need(std::isfinite(edge) && edge >= 0, "edge must be at least 0");
            need(sweeps >= 0 && sweeps <= 1000, "sweeps must be 0 to 1000");
            const float* values = aligned(cost.data(), "cost");
            const auto rows = static_cast<std::size_t>(cost.shape(0));
            const auto columns = static_cast<std::size_t>(cost.shape(1));
            const auto labels = static_cast<std::size_t>(cost.shape(2)) - 1;
            const std::vector<float> costs(values, values + cost.size());
            Images32 beliefs({cost.shape(0), cost.shape(1), cost.shape(2)});
            float* out = beliefs.mutable_data();
            {
                const py::gil_scoped_release release;
                const auto found = believe(costs, rows, columns, labels,
                                           LabelPrior{step, longest, edge}, sweeps, 1);
                std::copy(found.begin(), found.end(), out);
            }
            return beliefs;
        },
        "cost"_a.noconvert(), "step"_a, "longest"_a, "edge"_a, "sweeps"_a,
        "Cost of every label, with what the neighbours think of it, by min-sum belief\n"
        "propagation; float32 (rows, columns, labels + 1), the last for no label. Unlike labels\n"
        "of neighbours cost step for each step between them, but at most longest; edge if only\n"
        "one of them has a label.");
}

}  // namespace iosfast

// The most probable field of labels on a grid: each cell takes one of a row of labels, or none.
#pragma once

#include <cstddef>
#include <vector>

namespace iosfast {

// What neighbouring cells pay for unlike labels.
struct LabelPrior {
    float step;     // for each step between their labels,
    float longest;  // but no more than this,
    float edge;     // and this if only one of them has a label.
};

// `cost` is (rows, columns, labels + 1), the last for no label. Returns the cost of every label
// with what the neighbours think of it, by `sweeps` rounds of min-sum belief propagation along the
// rows and columns (Tappen and Freeman, ICCV 2003, doi 10.1109/ICCV.2003.1238444); the same with
// any number of threads.
std::vector<float> believe(const std::vector<float>& cost, std::size_t rows, std::size_t columns,
                           std::size_t labels, const LabelPrior& prior, int sweeps,
                           unsigned threads);

}  // namespace iosfast

#include "front_labels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "parallel_for.hpp"

namespace iosfast {

namespace {

enum Side : std::size_t { left, right, above, below, kSides };

constexpr std::array<Side, kSides> kOpposite{right, left, below, above};

// The least of numbers, in lanes: one after the other, each would wait for the one before.
float least_of(const float* values, std::size_t count, float most) {
    constexpr std::size_t kLanes = 16;
    std::array<float, kLanes> lanes{};
    lanes.fill(most);
    std::size_t k = 0;
    for (; k + kLanes <= count; k += kLanes)
        for (std::size_t lane = 0; lane < kLanes; ++lane)
            lanes.at(lane) = std::min(lanes.at(lane), values[k + lane]);
    for (; k < count; ++k) lanes[0] = std::min(lanes[0], values[k]);
    return *std::min_element(lanes.begin(), lanes.end());
}

// Rows, or columns, that one thread sweeps at a time.
constexpr std::size_t kBand = 8;

// Messages between neighbours: inbox(side, cell) is what the neighbour on that side last said.
class Messages {
  public:
    Messages(const std::vector<float>& cost, std::size_t cells, std::size_t labels,
             const LabelPrior& prior)
        : cost_(cost), labels_(labels), prior_(prior) {
        // A path of at most `steps` single steps is one of jumps of 1, 2, 4 ... and a rest.
        auto steps = static_cast<std::size_t>(std::ceil(prior.longest / prior.step));
        steps = std::min(steps, labels);
        for (std::size_t jump = 1; steps > 0; jump *= 2) {
            jumps_.push_back(std::min(jump, steps));
            steps -= jumps_.back();
        }
        margin_ = jumps_.empty() ? 0 : *std::max_element(jumps_.begin(), jumps_.end());
        for (auto& inbox : inbox_) inbox.assign(cells * (labels + 1), 0.0F);
    }

    // What a thread thinks with, with a margin of kFar on both sides.
    struct Scratch {
        std::vector<float> thought, further;
    };
    Scratch scratch() const {
        const std::vector<float> far(labels_ + 2 * margin_, kFar);
        return {far, far};
    }

    // Tell the neighbour `to`, which lies on that side of the cell `from`, what is thought here.
    void tell(std::size_t from, std::size_t to, Side side, Scratch& scratch) {
        const std::size_t width = labels_ + 1;
        const float* own = cost_.data() + from * width;
        const float* a = inbox_.at((side + 1) % kSides).data() + from * width;
        const float* b = inbox_.at((side + 2) % kSides).data() + from * width;
        const float* c = inbox_.at((side + 3) % kSides).data() + from * width;
        float* thought = scratch.thought.data() + margin_;
        for (std::size_t k = 0; k < labels_; ++k) thought[k] = own[k] + a[k] + b[k] + c[k];
        const float none = own[labels_] + a[labels_] + b[labels_] + c[labels_];
        const float best = least_of(thought, labels_, kFar);
        for (const std::size_t jump : jumps_) {
            const float price = prior_.step * static_cast<float>(jump);
            const float* here = scratch.thought.data() + margin_;
            float* there = scratch.further.data() + margin_;
            const float* below = here - jump;
            const float* above = here + jump;
            for (std::size_t k = 0; k < labels_; ++k)
                there[k] = std::min(here[k], std::min(below[k], above[k]) + price);
            std::swap(scratch.thought, scratch.further);
        }
        thought = scratch.thought.data() + margin_;
        const float cap = std::min(best + prior_.longest, none + prior_.edge);
        const float no_label = std::min(none, best + prior_.edge);
        const float least = std::min({no_label, best, cap});
        float* out = inbox_.at(kOpposite.at(side)).data() + to * width;
        for (std::size_t k = 0; k < labels_; ++k) out[k] = std::min(thought[k], cap) - least;
        out[labels_] = no_label - least;
    }

    std::vector<float> beliefs() const {
        std::vector<float> sum = cost_;
        for (const auto& inbox : inbox_)
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += inbox[i];
        return sum;
    }

  private:
    static constexpr float kFar = 1e30F;

    const std::vector<float>& cost_;
    std::size_t labels_;
    LabelPrior prior_;
    std::size_t margin_ = 0;
    std::vector<std::size_t> jumps_;
    std::array<std::vector<float>, kSides> inbox_;
};

}  // namespace

std::vector<float> believe(const std::vector<float>& cost, std::size_t rows, std::size_t columns,
                           std::size_t labels, const LabelPrior& prior, int sweeps,
                           unsigned threads) {
    Messages messages(cost, rows * columns, labels, prior);
    // What is told along a row does not touch another row; the same with columns.
    const auto in_bands = [&](std::size_t lines, auto&& sweep_band) {
        parallel_for((lines + kBand - 1) / kBand, threads, [&] {
            return [&, scratch = messages.scratch()](std::size_t band,
                                                     const std::atomic<bool>&) mutable {
                sweep_band(band * kBand, std::min(lines, (band + 1) * kBand), scratch);
            };
        });
    };
    for (int sweep = 0; sweep < sweeps; ++sweep) {
        in_bands(rows, [&](std::size_t first, std::size_t last, auto& scratch) {
            for (std::size_t i = first * columns; i < last * columns; i += columns) {
                for (std::size_t x = 0; x + 1 < columns; ++x)
                    messages.tell(i + x, i + x + 1, right, scratch);
                for (std::size_t x = columns; x-- > 1;)
                    messages.tell(i + x, i + x - 1, left, scratch);
            }
        });
        in_bands(columns, [&](std::size_t first, std::size_t last, auto& scratch) {
            for (std::size_t y = 0; y + 1 < rows; ++y)
                for (std::size_t x = first; x < last; ++x)
                    messages.tell(y * columns + x, (y + 1) * columns + x, below, scratch);
            for (std::size_t y = rows; y-- > 1;)
                for (std::size_t x = first; x < last; ++x)
                    messages.tell(y * columns + x, (y - 1) * columns + x, above, scratch);
        });
    }
    return messages.beliefs();
}

}  // namespace iosfast

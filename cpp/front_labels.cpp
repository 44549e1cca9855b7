#include "front_labels.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace iosfast {

namespace {

enum Side : std::size_t { left, right, above, below, kSides };

constexpr std::array<Side, kSides> kOpposite{right, left, below, above};

// Messages between neighbours. inbox(side, cell) is what the neighbour on that side last said.
class Messages {
  public:
    Messages(const std::vector<float>& cost, std::size_t cells, std::size_t labels)
        : cost_(cost), width_(labels + 1), belief_(labels + 1) {
        for (auto& inbox : inbox_) inbox.assign(cells * width_, 0.0F);
    }

    // Tell the neighbour `to`, which lies on that side of the cell `from`, what is thought here.
    void tell(std::size_t from, std::size_t to, Side side, const LabelPrior& prior) {
        const std::size_t labels = width_ - 1;
        float* thought = belief_.data();
        const float* own = cost_.data() + from * width_;
        std::copy_n(own, width_, thought);
        for (std::size_t other = 0; other < kSides; ++other) {
            if (other == side) continue;
            const float* said = inbox_.at(other).data() + from * width_;
            for (std::size_t k = 0; k < width_; ++k) thought[k] += said[k];
        }
        const float none = thought[labels];
        float best = std::numeric_limits<float>::max();
        for (std::size_t k = 0; k < labels; ++k) best = std::min(best, thought[k]);
        for (std::size_t k = 1; k < labels; ++k)
            thought[k] = std::min(thought[k], thought[k - 1] + prior.step);
        for (std::size_t k = labels - 1; k-- > 0;)
            thought[k] = std::min(thought[k], thought[k + 1] + prior.step);
        const float cap = std::min(best + prior.longest, none + prior.edge);
        const float no_label = std::min(none, best + prior.edge);
        const float least = std::min(no_label, std::min(best, cap));
        float* out = inbox_.at(kOpposite.at(side)).data() + to * width_;
        for (std::size_t k = 0; k < labels; ++k) out[k] = std::min(thought[k], cap) - least;
        out[labels] = no_label - least;
    }

    std::vector<float> beliefs() const {
        std::vector<float> sum = cost_;
        for (const auto& inbox : inbox_)
            for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += inbox[i];
        return sum;
    }

  private:
    const std::vector<float>& cost_;
    std::size_t width_;
    std::vector<float> belief_;
    std::array<std::vector<float>, kSides> inbox_;
};

}  // namespace

std::vector<float> believe(const std::vector<float>& cost, std::size_t rows, std::size_t columns,
                           std::size_t labels, const LabelPrior& prior, int sweeps) {
    Messages messages(cost, rows * columns, labels);
    for (int sweep = 0; sweep < sweeps; ++sweep) {
        for (std::size_t y = 0; y < rows; ++y)
            for (std::size_t x = 0; x + 1 < columns; ++x)
                messages.tell(y * columns + x, y * columns + x + 1, right, prior);
        for (std::size_t y = 0; y < rows; ++y)
            for (std::size_t x = columns; x-- > 1;)
                messages.tell(y * columns + x, y * columns + x - 1, left, prior);
        for (std::size_t y = 0; y + 1 < rows; ++y)
            for (std::size_t x = 0; x < columns; ++x)
                messages.tell(y * columns + x, (y + 1) * columns + x, below, prior);
        for (std::size_t y = rows; y-- > 1;)
            for (std::size_t x = 0; x < columns; ++x)
                messages.tell(y * columns + x, (y - 1) * columns + x, above, prior);
    }
    return messages.beliefs();
}

}  // namespace iosfast

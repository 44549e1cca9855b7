#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "front.hpp"

namespace iosfast {

namespace {

constexpr float kMostChange = 1e12F;  // whose square is still a float

// Cells of the image that are to be told from each other.
struct Grid {
    Grid(std::size_t image_height, std::size_t image_width, std::size_t side_of_cells,
         const std::uint8_t* counted)
        : height(image_height),
          width(image_width),
          side(side_of_cells),
          rows((height + side - 1) / side),
          columns((width + side - 1) / side),
          inside(counted),
          counts(rows * columns, 0) {
        for (std::size_t y = 0; y < height; ++y)
            for (std::size_t x = 0; x < columns; ++x) {
                const std::uint8_t* begin = inside + y * width + x * side;
                const std::uint8_t* end = begin + std::min(side, width - x * side);
                counts[y / side * columns + x] +=
                    static_cast<std::size_t>(end - begin - std::count(begin, end, 0));
            }
    }

    std::size_t height, width, side, rows, columns;
    const std::uint8_t* inside;
    std::vector<std::size_t> counts;  // of the pixels inside of each cell
};

// Add the pixels of row `y` to the sums of the cells that it crosses, each from left to right. Of
// cells that are all inside, four are summed at a time, since each sum waits for its last pixel.
void add_row(const Grid& grid, std::size_t y, const float* row, std::vector<double>& sums) {
    constexpr std::size_t kTogether = 4;
    const std::size_t side = grid.side, all = side * side;
    const std::size_t* counts = grid.counts.data() + y / side * grid.columns;
    const std::uint8_t* inside = grid.inside + y * grid.width;
    for (std::size_t x = 0; x < grid.columns;) {
        const std::size_t* of_next = counts + std::min(grid.columns, x + kTogether);
        if (of_next - (counts + x) == kTogether &&
            std::all_of(counts + x, of_next, [&](std::size_t count) { return count == all; })) {
            std::array<double, kTogether> sum{};
            std::copy_n(sums.begin() + static_cast<std::ptrdiff_t>(x), kTogether, sum.begin());
            for (std::size_t u = 0; u < side; ++u)
                for (std::size_t k = 0; k < kTogether; ++k)
                    sum[k] += static_cast<double>(row[(x + k) * side + u]);
            std::copy(sum.begin(), sum.end(), sums.begin() + static_cast<std::ptrdiff_t>(x));
            x += kTogether;
            continue;
        }
        for (std::size_t u = x * side; u < std::min(grid.width, (x + 1) * side); ++u)
            if (inside[u]) sums[x] += static_cast<double>(row[u]);
        ++x;
    }
}

void check(const float* row, std::size_t width) {
    // Counted to the end, not up to the first: this is many values at a time.
    if (std::count_if(row, row + width,
                      [](float value) { return !(std::abs(value) < kMostChange); }) != 0)
        throw std::invalid_argument("change must be finite, and below 1e12");
}

}  // namespace

void front_cells(const float* change, std::size_t maps, std::size_t height, std::size_t width,
                 const std::uint8_t* inside, std::size_t side, std::uint8_t* cells_inside,
                 double* centres, float* cells, unsigned threads) {
    const Grid grid(height, width, side, inside);
    const std::size_t count = grid.counts.size();
    for (std::size_t i = 0; i < count; ++i) cells_inside[i] = grid.counts[i] > 0;
    parallel_for(maps, threads, [&] {
        return [&, means = std::vector<float>(), sums = std::vector<double>()](
                   std::size_t t, const std::atomic<bool>&) mutable {
            const float* map = change + t * height * width;
            float* out = cells + t * count;
            means.clear();
            for (std::size_t row = 0; row < grid.rows; ++row) {
                sums.assign(grid.columns, 0.0);
                for (std::size_t y = row * side; y < std::min(height, (row + 1) * side); ++y) {
                    check(map + y * width, width);
                    add_row(grid, y, map + y * width, sums);
                }
                for (std::size_t x = 0; x < grid.columns; ++x) {
                    const std::size_t i = row * grid.columns + x;
                    if (grid.counts[i] == 0) continue;
                    out[i] = static_cast<float>(sums[x] / static_cast<double>(grid.counts[i]));
                    means.push_back(out[i]);
                }
            }
            float centre = 0.0F;
            if (!means.empty()) {
                const auto middle =
                    means.begin() + static_cast<std::ptrdiff_t>((means.size() - 1) / 2);
                std::nth_element(means.begin(), middle, means.end());
                centre = *middle;
            }
            centres[t] = static_cast<double>(centre);
            for (std::size_t i = 0; i < count; ++i)
                out[i] = grid.counts[i] ? out[i] - centre : 0.0F;
        };
    });
}

}  // namespace iosfast

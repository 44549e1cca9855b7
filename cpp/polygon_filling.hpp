// Filling one polygon into an image, span by span.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "polygons.hpp"

namespace iosfast {

// Rows [top, bottom) and columns [left, right).
struct Window {
    std::size_t top = 0;
    std::size_t bottom = 0;
    std::size_t left = 0;
    std::size_t right = 0;
};

// Owns the memory that filling needs, to be used again and again by one thread.
class PolygonFiller {
  public:
    // Call span(y, first, last) for pixels first..last of row y; spans may overlap.
    template <class Span>
    void fill(std::span<const Point> polygon, const Window& window, Span&& span) {
        if (!prepare(polygon, window)) return;
        for (std::size_t row = 0; row + 1 < row_starts_.size(); ++row) {
            const double* const begin = crossings_.data() + row_starts_[row];
            sort_row(row);
            const std::size_t count = row_starts_[row + 1] - row_starts_[row];
            for (std::size_t i = 0; i + 1 < count; i += 2)
                emit(top_ + row, begin[i], begin[i + 1], window, span);
        }
        for (const Border& b : borders_) emit(b.y, b.first, b.last, window, span);
    }

  private:
    struct Border {
        std::size_t y;
        double first;
        double last;
    };

    bool prepare(std::span<const Point> polygon, const Window& window);
    void sort_row(std::size_t row);

    template <class Span>
    static void emit(std::size_t y, double first, double last, const Window& window, Span& span) {
        const auto low = static_cast<double>(window.left);
        const auto high = static_cast<double>(window.right) - 1;
        if (!(first <= high) || !(last >= low)) return;
        const double from = first > low ? first : low;
        const double to = last < high ? last : high;
        auto begin = static_cast<std::size_t>(from);
        if (static_cast<double>(begin) < from) ++begin;
        const auto end = static_cast<std::size_t>(to);
        if (begin <= end) span(y, begin, end);
    }

    std::size_t top_ = 0;
    std::vector<std::size_t> row_starts_;
    std::vector<std::size_t> filled_;
    std::vector<double> crossings_;
    std::vector<Border> borders_;
};

}  // namespace iosfast

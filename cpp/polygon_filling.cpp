#include "polygon_filling.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

namespace iosfast {
namespace {

struct Rows {
    std::size_t first = 0;
    std::size_t end = 0;
};

// Whole rows y of the window with low <= y < high, or <= high if `closed`.
Rows rows_between(double low, double high, bool closed, std::size_t top, std::size_t bottom) {
    const auto begin = static_cast<double>(top);
    const auto end = static_cast<double>(bottom);
    const double first = std::clamp(std::ceil(low), begin, end);
    const double past = closed ? std::floor(high) + 1 : std::ceil(high);
    const double last = std::clamp(past, first, end);
    return {static_cast<std::size_t>(first), static_cast<std::size_t>(last)};
}

// Where an edge passes row y. If its ends are whole numbers and x is one, then x is exact: the
// product is, and so is a quotient that is a whole number.
double passes_at(const Point& a, const Point& b, double y) {
    return a.x + (y - a.y) * (b.x - a.x) / (b.y - a.y);
}

template <class PerEdge>
void each_edge(std::span<const Point> polygon, PerEdge&& edge) {
    Point before = polygon.back();
    for (const Point& corner : polygon) {
        // the same way whichever way round the polygon goes
        if (before.y <= corner.y) {
            edge(before, corner);
        } else {
            edge(corner, before);
        }
        before = corner;
    }
}

}  // namespace

bool PolygonFiller::prepare(std::span<const Point> polygon, const Window& window) {
    borders_.clear();
    row_starts_.clear();
    if (polygon.empty()) return false;
    double low = polygon[0].y;
    double high = polygon[0].y;
    for (const Point& p : polygon) {
        low = std::min(low, p.y);
        high = std::max(high, p.y);
    }
    const Rows all = rows_between(low, high, true, window.top, window.bottom);
    if (all.first >= all.end) return false;
    top_ = all.first;
    const std::size_t rows = all.end - all.first;

    row_starts_.assign(rows + 1, 0);
    each_edge(polygon, [&](const Point& a, const Point& b) {
        const Rows r = rows_between(a.y, b.y, false, window.top, window.bottom);
        for (std::size_t y = r.first; y < r.end; ++y) ++row_starts_[y - top_ + 1];
    });
    for (std::size_t row = 0; row < rows; ++row) row_starts_[row + 1] += row_starts_[row];
    crossings_.resize(row_starts_[rows]);
    filled_.assign(row_starts_.begin(), row_starts_.end() - 1);
    each_edge(polygon, [&](const Point& a, const Point& b) {
        const Rows r = rows_between(a.y, b.y, true, window.top, window.bottom);
        if (a.y == b.y) {
            if (r.first < r.end)
                borders_.push_back({r.first, std::min(a.x, b.x), std::max(a.x, b.x)});
            return;
        }
        for (std::size_t y = r.first; y < r.end; ++y) {
            const auto at = static_cast<double>(y);
            const double x = at == b.y ? b.x : passes_at(a, b, at);
            if (at < b.y) crossings_[filled_[y - top_]++] = x;
            if (x == std::floor(x)) borders_.push_back({y, x, x});
        }
    });
    return true;
}

void PolygonFiller::sort_row(std::size_t row) {
    const auto begin = crossings_.begin();
    std::sort(begin + static_cast<std::ptrdiff_t>(row_starts_[row]),
              begin + static_cast<std::ptrdiff_t>(row_starts_[row + 1]));
}

void fill_polygons(const PolygonList& polygons, std::span<const std::int64_t> image_of,
                   std::span<const std::int64_t> object_of, std::size_t object_count,
                   std::size_t image_count, std::size_t height, std::size_t width,
                   std::uint8_t* masks, unsigned threads, const Poll& poll) {
    const std::size_t count = polygons.size();
    std::vector<std::size_t> first(image_count + 1, count);
    for (std::size_t p = 0; p < count; ++p) {
        if (image_of[p] < 0 || static_cast<std::size_t>(image_of[p]) >= image_count)
            throw std::invalid_argument("image_of must be at least 0 and below their number");
        if (p > 0 && image_of[p] < image_of[p - 1])
            throw std::invalid_argument("image_of must not decrease");
        if (object_of[p] < kErase || object_of[p] >= static_cast<std::int64_t>(object_count))
            throw std::invalid_argument("object_of must be at least -1 and below their number");
    }
    for (const Point& point : polygons.points) {
        if (!(std::abs(point.x) <= kMaxCoordinate) || !(std::abs(point.y) <= kMaxCoordinate))
            throw std::invalid_argument("points must be finite and not beyond 1e9");
    }
    for (std::size_t p = count; p-- > 0;) first[static_cast<std::size_t>(image_of[p])] = p;
    for (std::size_t i = image_count; i-- > 0;) first[i] = std::min(first[i], first[i + 1]);

    const std::size_t pixels = height * width;
    const Window window{0, height, 0, width};
    parallel_for(
        image_count, threads,
        [&] {
            return
                [&, filler = PolygonFiller()](std::size_t image, std::atomic<bool>& stop) mutable {
                    for (std::size_t p = first[image]; p < first[image + 1] && !stop; ++p) {
                        const bool erase = object_of[p] == kErase;
                        const std::size_t from = erase ? 0 : static_cast<std::size_t>(object_of[p]);
                        const std::size_t to = erase ? object_count : from + 1;
                        filler.fill(polygons[p], window,
                                    [&](std::size_t y, std::size_t begin, std::size_t end) {
                                        for (std::size_t o = from; o < to; ++o) {
                                            auto* row = masks + (o * image_count + image) * pixels;
                                            std::memset(row + y * width + begin, erase ? 0 : 1,
                                                        end - begin + 1);
                                        }
                                    });
                    }
                };
        },
        poll);
}

}  // namespace iosfast

// Whether polygons cross themselves.
#include <algorithm>
#include <numeric>

#include "polygons.hpp"

namespace iosfast {
namespace {

// Above 0 if c lies clockwise of a -> b as seen on the screen, 0 on its line.
double side(const Point& a, const Point& b, const Point& c) {
    return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

bool opposite(double a, double b) {
    return (a < 0 && b > 0) || (a > 0 && b < 0);
}

bool same(const Point& a, const Point& b) {
    return a.x == b.x && a.y == b.y;
}

// Whether p, known to be on the line of a and b, lies strictly between them.
bool between(const Point& a, const Point& b, const Point& p) {
    const double along = (p.x - a.x) * (b.x - a.x) + (p.y - a.y) * (b.y - a.y);
    const double back = (p.x - b.x) * (a.x - b.x) + (p.y - b.y) * (a.y - b.y);
    return along > 0 && back > 0;
}

// Whether q is seen from v in the sector from `from` clockwise to `to`: 1 inside, -1 outside, 0 on
// one of its sides.
int in_sector(const Point& v, const Point& from, const Point& to, const Point& q) {
    const auto along = [&v](const Point& a, const Point& b) {
        return side(v, a, b) == 0 && (a.x - v.x) * (b.x - v.x) + (a.y - v.y) * (b.y - v.y) > 0;
    };
    if (along(from, q) || along(to, q) || along(from, to)) return 0;
    const bool after_from = side(v, from, q) > 0;
    const bool before_to = side(v, q, to) > 0;
    const double turn = side(v, from, to);
    const bool wide = turn < 0;  // more than half a turn
    const bool inside = wide        ? after_from || before_to
                        : turn == 0 ? after_from
                                    : after_from && before_to;
    return inside ? 1 : -1;
}

class CrossingFinder {
  public:
    bool crosses(std::span<const Point> polygon) {
        corners_.clear();
        for (const Point& p : polygon) {
            if (corners_.empty() || !same(corners_.back(), p)) corners_.push_back(p);
        }
        while (corners_.size() > 1 && same(corners_.front(), corners_.back())) corners_.pop_back();
        const std::size_t n = corners_.size();
        if (n < 4) return false;
        order_.resize(n);
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        std::sort(order_.begin(), order_.end(), [this](std::size_t i, std::size_t j) {
            const double a = left(i);
            const double b = left(j);
            return a < b || (a == b && i < j);
        });
        open_.clear();
        for (const std::size_t i : order_) {  // edges from left to right
            const double at = left(i);
            std::size_t kept = 0;
            for (const std::size_t j : open_) {
                if (right(j) < at) continue;
                open_[kept++] = j;
                if (near(i, j) && meet(i, j)) return true;
            }
            open_.resize(kept);
            open_.push_back(i);
        }
        return false;
    }

  private:
    [[nodiscard]] std::size_t after(std::size_t i) const {
        return i + 1 == corners_.size() ? 0 : i + 1;
    }
    [[nodiscard]] std::size_t before(std::size_t i) const {
        return i == 0 ? corners_.size() - 1 : i - 1;
    }
    [[nodiscard]] double left(std::size_t i) const {
        return std::min(corners_[i].x, corners_[after(i)].x);
    }
    [[nodiscard]] double right(std::size_t i) const {
        return std::max(corners_[i].x, corners_[after(i)].x);
    }
    [[nodiscard]] bool near(std::size_t i, std::size_t j) const {
        const auto [top_i, bottom_i] = std::minmax(corners_[i].y, corners_[after(i)].y);
        const auto [top_j, bottom_j] = std::minmax(corners_[j].y, corners_[after(j)].y);
        return top_i <= bottom_j && top_j <= bottom_i;
    }

    // Whether edges i and j cross, or the way through the first corner of one crosses the other.
    [[nodiscard]] bool meet(std::size_t i, std::size_t j) const {
        const Point& a = corners_[i];
        const Point& b = corners_[after(i)];
        const Point& c = corners_[j];
        const Point& d = corners_[after(j)];
        if (same(a, c)) {
            const Point& a_before = corners_[before(i)];
            const int in = in_sector(a, a_before, b, corners_[before(j)]);
            const int out = in_sector(a, a_before, b, d);
            return in * out < 0;
        }
        const double a_side = side(c, d, a);
        const double c_side = side(a, b, c);
        if (opposite(a_side, side(c, d, b)) && opposite(c_side, side(a, b, d))) return true;
        if (a_side == 0 && between(c, d, a))
            return opposite(side(c, d, corners_[before(i)]), side(c, d, b));
        if (c_side == 0 && between(a, b, c))
            return opposite(side(a, b, corners_[before(j)]), side(a, b, d));
        return false;
    }

    std::vector<Point> corners_;
    std::vector<std::size_t> order_;
    std::vector<std::size_t> open_;
};

}  // namespace

void find_crossings(const PolygonList& polygons, std::uint8_t* crossing, unsigned threads) {
    parallel_for(polygons.size(), threads, [&] {
        return [&, finder = CrossingFinder()](std::size_t p, std::atomic<bool>&) mutable {
            crossing[p] = finder.crosses(polygons[p]) ? 1 : 0;
        };
    });
}

}  // namespace iosfast

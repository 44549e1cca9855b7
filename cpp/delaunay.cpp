#include "delaunay.hpp"

#include <numeric>
#include <stdexcept>
#include <utility>

namespace iosfast {
namespace {

using Edge = std::int32_t;

// Edges with a direction: e and e ^ 1 are the two of one side. Around the origin of each there is
// a ring of all edges that begin there.
class Mesh {
  public:
    Mesh(std::span<const GridPoint> points, double wide, double high)
        : points_(points), aspect_((high / wide) * (high / wide)) {
        const std::size_t most = 8 * points.size();
        origin_.reserve(most);
        next_.reserve(most);
        before_.reserve(most);
        if (points.size() > 1) divide(0, static_cast<std::int32_t>(points.size()));
    }

    Triangles triangles() const {
        Triangles found;
        std::vector<std::int32_t> face(origin_.size(), -1);
        std::vector<std::array<Edge, 3>> sides;
        for (Edge a = 0; a < static_cast<Edge>(origin_.size()); ++a) {
            if (from(a) < 0 || face[at(a)] >= 0) continue;
            const Edge b = around_face(a);
            const Edge c = around_face(b);
            if (around_face(c) != a || turn(from(a), from(b), from(c)) >= 0) continue;
            const auto number = static_cast<std::int32_t>(sides.size());
            sides.push_back({a, b, c});
            for (const Edge e : sides.back()) face[at(e)] = number;
            found.corners.push_back({from(a), from(b), from(c)});
        }
        found.neighbours.reserve(sides.size());
        for (const auto& [a, b, c] : sides)
            found.neighbours.push_back({face[at(a ^ 1)], face[at(b ^ 1)], face[at(c ^ 1)]});
        return found;
    }

  private:
    static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
    std::int32_t from(Edge e) const { return origin_[at(e)]; }
    std::int32_t to(Edge e) const { return origin_[at(e ^ 1)]; }
    Edge next(Edge e) const { return next_[at(e)]; }
    Edge before(Edge e) const { return before_[at(e)]; }
    Edge around_face(Edge e) const { return before(e ^ 1); }

    Edge make(std::int32_t a, std::int32_t b) {
        const auto e = static_cast<Edge>(origin_.size());
        for (const auto& [end, own] : {std::pair{a, e}, std::pair{b, e + 1}}) {
            origin_.push_back(end);
            next_.push_back(own);
            before_.push_back(own);
        }
        return e;
    }

    // Joins the rings of two edges, or parts one.
    void splice(Edge a, Edge b) {
        if (a == b) return;
        before_[at(next(a))] = b;
        before_[at(next(b))] = a;
        std::swap(next_[at(a)], next_[at(b)]);
    }

    Edge connect(Edge a, Edge b) {
        const Edge e = make(to(a), from(b));
        splice(e, around_face(a));
        splice(e ^ 1, b);
        return e;
    }

    void drop(Edge e) {
        splice(e, before(e));
        splice(e ^ 1, before(e ^ 1));
        origin_[at(e)] = origin_[at(e ^ 1)] = -1;
    }

    // Above 0 if p, a, b turn to the left with y upwards.
    std::int64_t turn(std::int32_t p, std::int32_t a, std::int32_t b) const {
        const GridPoint& o = points_[at(p)];
        const std::int64_t ax = points_[at(a)].x - o.x;
        const std::int64_t ay = points_[at(a)].y - o.y;
        const std::int64_t bx = points_[at(b)].x - o.x;
        const std::int64_t by = points_[at(b)].y - o.y;
        return ax * by - ay * bx;
    }

    bool right_of(std::int32_t p, Edge e) const { return turn(p, from(e), to(e)) > 0; }
    bool left_of(std::int32_t p, Edge e) const { return turn(p, from(e), to(e)) < 0; }

    // Whether d is in the circle through a, b, c, which turn to the right.
    bool in_circle(std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d) const {
        const GridPoint& o = points_[at(d)];
        const auto apart = [&](std::int32_t p) {
            const double x = points_[at(p)].x - o.x;
            const double y = points_[at(p)].y - o.y;
            return std::array<double, 3>{x, y, x * x + aspect_ * y * y};
        };
        const auto [ax, ay, aa] = apart(a);
        const auto [bx, by, bb] = apart(b);
        const auto [cx, cy, cc] = apart(c);
        return aa * (bx * cy - by * cx) - bb * (ax * cy - ay * cx) + cc * (ax * by - ay * bx) < 0;
    }

    // Triangulates the points [first, last); returns the edges of the outline that leave the first
    // point and the last one.
    std::pair<Edge, Edge> divide(std::int32_t first, std::int32_t last) {
        const std::int32_t count = last - first;
        if (count == 2) {
            const Edge a = make(first, first + 1);
            return {a, a ^ 1};
        }
        if (count == 3) {
            const Edge a = make(first, first + 1);
            const Edge b = make(first + 1, first + 2);
            splice(a ^ 1, b);
            if (right_of(first + 2, a)) {
                connect(b, a);
                return {a, b ^ 1};
            }
            if (left_of(first + 2, a)) {
                const Edge c = connect(b, a);
                return {c ^ 1, c};
            }
            return {a, b ^ 1};
        }
        const std::int32_t middle = first + (count + 1) / 2;
        return merge(divide(first, middle), divide(middle, last));
    }

    std::pair<Edge, Edge> merge(std::pair<Edge, Edge> one, std::pair<Edge, Edge> other) {
        auto [left_out, left] = one;
        auto [right, right_out] = other;
        for (;;) {  // down to the line that touches both
            if (right_of(from(right), left))
                left = next(left ^ 1);
            else if (left_of(from(left), right))
                right = before(right ^ 1);
            else
                break;
        }
        Edge base = connect(left ^ 1, right);
        if (from(left) == from(left_out)) left_out = base;
        if (from(right) == from(right_out)) right_out = base ^ 1;
        for (;;) {
            Edge a = next(base ^ 1);
            Edge b = before(base);
            const bool some_a = right_of(to(a), base);
            const bool some_b = right_of(to(b), base);
            if (!some_a && !some_b) break;
            if (some_a) {
                while (right_of(to(next(a)), base) &&
                       in_circle(to(base), from(base), to(a), to(next(a))))
                    drop(std::exchange(a, next(a)));
            }
            if (some_b) {
                while (right_of(to(before(b)), base) &&
                       in_circle(to(base), from(base), to(b), to(before(b))))
                    drop(std::exchange(b, before(b)));
            }
            const bool by_b = !some_a || (some_b && in_circle(to(a), from(a), from(b), to(b)));
            base = by_b ? connect(b, base ^ 1) : connect(base ^ 1, a ^ 1);
        }
        return {left_out, right_out};
    }

    std::span<const GridPoint> points_;
    double aspect_;  // square of a step down by one across
    std::vector<std::int32_t> origin_;
    std::vector<Edge> next_, before_;
};

// Sets that are joined.
class Regions {
  public:
    explicit Regions(std::size_t count) : parent_(count) {
        std::iota(parent_.begin(), parent_.end(), std::size_t{0});
    }

    bool join(std::size_t a, std::size_t b) {
        a = root(a);
        b = root(b);
        parent_[b] = a;
        return a != b;
    }

  private:
    std::size_t root(std::size_t i) {
        while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
        return i;
    }

    std::vector<std::size_t> parent_;
};

}  // namespace

Triangles delaunay(std::span<const GridPoint> points, double wide, double high) {
    if (points.size() > (std::size_t{1} << 27)) throw std::invalid_argument("too many points");
    return Mesh(points, wide, high).triangles();
}

std::size_t groups_to_one_region(const Triangles& triangles, std::span<const std::int64_t> order,
                                 std::span<const std::int64_t> ends, std::size_t points) {
    const std::size_t count = triangles.corners.size();
    Regions regions(count);
    std::vector<char> taken(count);
    std::vector<char> held(points);
    std::size_t apart = 0;
    std::size_t missing = points;
    std::size_t begin = 0;
    for (std::size_t group = 0; group < ends.size(); ++group) {
        const auto end = static_cast<std::size_t>(ends[group]);
        for (; begin < end; ++begin) {
            const auto i = static_cast<std::size_t>(order[begin]);
            taken[i] = 1;
            ++apart;
            for (const std::int32_t corner : triangles.corners[i])
                missing -= std::exchange(held[static_cast<std::size_t>(corner)], 1) ? 0U : 1U;
            for (const std::int32_t j : triangles.neighbours[i]) {
                if (j < 0 || !taken[static_cast<std::size_t>(j)]) continue;
                if (regions.join(i, static_cast<std::size_t>(j))) --apart;
            }
        }
        if (apart == 1 && missing == 0) return group + 1;
    }
    return ends.size() + 1;
}

}  // namespace iosfast

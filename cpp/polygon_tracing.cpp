// From masks to polygons: components by runs, their borders, simplification.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>

#include "polygon_filling.hpp"
#include "polygons.hpp"

namespace iosfast {
namespace {

// East, then clockwise as seen on the screen (y grows downwards).
constexpr std::array<int, 8> kStepX{1, 1, 0, -1, -1, -1, 0, 1};
constexpr std::array<int, 8> kStepY{0, 1, 1, 1, 0, -1, -1, -1};

// Widens outlines of one pixel or one line; no other pixel's centre is that near to a line in one
// of the eight directions.
constexpr double kQuarter = 0.25;

// An image of 0 and 1 with a border of zeros.
class Bitmap {
  public:
    void reset(std::size_t height, std::size_t width) {
        stride_ = width + 2;
        pixels_.assign((height + 2) * stride_, 0);
    }
    [[nodiscard]] std::size_t stride() const { return stride_; }
    std::uint8_t* at(std::size_t y, std::size_t x) {
        return pixels_.data() + (y + 1) * stride_ + x + 1;
    }

  private:
    std::size_t stride_ = 0;
    std::vector<std::uint8_t> pixels_;
};

struct Run {
    std::size_t y;
    std::size_t first;
    std::size_t end;
};

Window bounds(const std::uint8_t* mask, std::size_t height, std::size_t width) {
    Window w{height, 0, width, 0};
    for (std::size_t y = 0; y < height; ++y) {
        const std::uint8_t* const row = mask + y * width;
        std::size_t x = 0;
        for (std::uint64_t eight = 0; x + 8 <= width; x += 8) {
            std::memcpy(&eight, row + x, 8);
            if (eight) break;
        }
        while (x < width && !row[x]) ++x;
        if (x == width) continue;
        std::size_t end = width;
        while (!row[end - 1]) --end;
        w.top = std::min(w.top, y);
        w.bottom = y + 1;
        w.left = std::min(w.left, x);
        w.right = std::max(w.right, end);
    }
    return w;
}

class Tracer {
  public:
    explicit Tracer(double tolerance_px) : tolerance_(tolerance_px) {}

    // Append the outlines of a mask.
    void trace(const std::uint8_t* mask, std::size_t height, std::size_t width, std::int64_t index,
               Outlines& out) {
        const Window w = bounds(mask, height, width);
        if (w.top >= w.bottom) return;
        rows_ = w.bottom - w.top;
        columns_ = w.right - w.left;
        const Window all{0, rows_, 0, columns_};
        wanted_.reset(rows_, columns_);
        const std::size_t columns = columns_;  // bytes may alias members, but not locals
        for (std::size_t y = 0; y < rows_; ++y) {
            const std::uint8_t* const from = mask + (y + w.top) * width + w.left;
            std::uint8_t* const to = wanted_.at(y, 0);
            for (std::size_t x = 0; x < columns; ++x) to[x] = from[x] != 0 ? 1 : 0;
        }
        for (std::int64_t layer = 0;; ++layer) {
            filled_.reset(rows_, columns_);
            find_components();
            if (starts_.empty()) return;
            for (const Run& start : starts_) {
                if (*filled_.at(start.y, start.first)) continue;  // an island: drawn above its hole
                follow(start);
                filler_.fill(corners_, all, [&](std::size_t y, std::size_t begin, std::size_t end) {
                    std::memset(filled_.at(y, begin), 1, end - begin + 1);
                });
                simplify();
                for (const Point& p : kept_) {
                    out.points.push_back(
                        {p.x + static_cast<double>(w.left), p.y + static_cast<double>(w.top)});
                }
                out.starts.push_back(static_cast<std::int64_t>(out.points.size()));
                out.masks.push_back(index);
                out.layers.push_back(layer);
            }
            // What was filled too much is what the next layer has to take back.
            for (std::size_t y = 0; y < rows_; ++y) {
                std::uint8_t* const row = wanted_.at(y, 0);
                const std::uint8_t* const full = filled_.at(y, 0);
                for (std::size_t x = 0; x < columns; ++x)
                    row[x] = static_cast<std::uint8_t>(row[x] ^ full[x]);
            }
        }
    }

  private:
    // The first run, topmost and then leftmost, of every 8-connected component.
    void find_components() {
        runs_.clear();
        starts_.clear();
        for (std::size_t y = 0; y < rows_; ++y) {
            const std::uint8_t* const row = wanted_.at(y, 0);
            const std::uint8_t* const end = row + columns_;
            const std::uint8_t* at = row;
            while ((at = static_cast<const std::uint8_t*>(
                        std::memchr(at, 1, static_cast<std::size_t>(end - at)))) != nullptr) {
                const auto* past = static_cast<const std::uint8_t*>(
                    std::memchr(at, 0, static_cast<std::size_t>(end - at)));
                if (past == nullptr) past = end;
                runs_.push_back(
                    {y, static_cast<std::size_t>(at - row), static_cast<std::size_t>(past - row)});
                at = past;
            }
        }
        parents_.resize(runs_.size());
        std::iota(parents_.begin(), parents_.end(), std::size_t{0});
        std::size_t above = 0;
        for (std::size_t i = 0; i < runs_.size(); ++i) {
            const Run& run = runs_[i];
            while (runs_[above].y + 1 < run.y ||
                   (runs_[above].y + 1 == run.y && runs_[above].end < run.first)) {
                ++above;
            }
            for (std::size_t j = above; runs_[j].y + 1 == run.y && runs_[j].first <= run.end; ++j)
                join(i, j);
        }
        for (std::size_t i = 0; i < runs_.size(); ++i) {
            if (parents_[i] == i) starts_.push_back(runs_[i]);
        }
    }

    std::size_t root(std::size_t i) {
        while (parents_[i] != i) i = parents_[i] = parents_[parents_[i]];
        return i;
    }

    void join(std::size_t i, std::size_t j) {
        const std::size_t a = root(i);
        const std::size_t b = root(j);
        parents_[std::max(a, b)] = std::min(a, b);
    }

    // Go round the component clockwise from its first pixel, which has nothing above or left of it.
    void follow(const Run& start) {
        corners_.clear();
        const auto stride = static_cast<std::ptrdiff_t>(wanted_.stride());
        const std::uint8_t* const begin = wanted_.at(start.y, start.first);
        const std::uint8_t* at = begin;
        auto x = static_cast<int>(start.first);
        auto y = static_cast<int>(start.y);
        const auto next = [&](unsigned search) {
            for (unsigned turn = 0; turn < 8; ++turn) {
                const unsigned d = (search + turn) & 7U;
                if (at[kStepY[d] * stride + kStepX[d]]) return d;
            }
            return 8U;
        };
        const unsigned first = next(0);
        if (first < 8) {
            unsigned direction = first;
            unsigned before = 8;
            do {
                if (direction != before)
                    corners_.push_back({static_cast<double>(x), static_cast<double>(y)});
                before = direction;
                x += kStepX[direction];
                y += kStepY[direction];
                at += kStepY[direction] * stride + kStepX[direction];
                direction = next((direction + 6) & 7U);
            } while (at != begin || direction != first);
            if (before == first) corners_.erase(corners_.begin());
        } else {
            corners_.push_back({static_cast<double>(x), static_cast<double>(y)});
        }
        widen();
    }

    void widen() {
        if (corners_.size() > 2) return;
        const Point a = corners_.front();
        if (corners_.size() == 1) corners_.push_back({a.x + kQuarter, a.y});
        const bool level = corners_[1].y == a.y;
        corners_.push_back({level ? a.x : a.x + kQuarter, level ? a.y + kQuarter : a.y});
    }

    // Leave out corners after Douglas and Peucker, between the first corner and the farthest.
    void simplify() {
        kept_ = corners_;
        if (tolerance_ <= 0 || corners_.size() <= 3) return;
        const std::size_t n = corners_.size();
        keep_.assign(n + 1, false);
        std::size_t far = 0;
        double most = -1;
        for (std::size_t i = 1; i < n; ++i) {
            const double d =
                std::hypot(corners_[i].x - corners_[0].x, corners_[i].y - corners_[0].y);
            if (d > most) {
                most = d;
                far = i;
            }
        }
        keep_[0] = keep_[far] = keep_[n] = true;
        pending_.assign({{0, far}, {far, n}});
        while (!pending_.empty()) {
            const auto [from, to] = pending_.back();
            pending_.pop_back();
            std::size_t worst = from;
            double distance = tolerance_;
            for (std::size_t i = from + 1; i < to; ++i) {
                const double d = to_segment(corners_[i], corners_[from], corners_[to % n]);
                if (d > distance) {
                    distance = d;
                    worst = i;
                }
            }
            if (worst == from) continue;
            keep_[worst] = true;
            pending_.emplace_back(from, worst);
            pending_.emplace_back(worst, to);
        }
        kept_.clear();
        for (std::size_t i = 0; i < n; ++i) {
            if (keep_[i]) kept_.push_back(corners_[i]);
        }
        if (kept_.size() < 3) kept_ = corners_;
    }

    static double to_segment(const Point& p, const Point& a, const Point& b) {
        const double dx = b.x - a.x;
        const double dy = b.y - a.y;
        const double length = dx * dx + dy * dy;
        const double along =
            length > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / length, 0.0, 1.0) : 0.0;
        return std::hypot(p.x - a.x - along * dx, p.y - a.y - along * dy);
    }

    double tolerance_;
    std::size_t rows_ = 0;
    std::size_t columns_ = 0;
    Bitmap wanted_;
    Bitmap filled_;
    PolygonFiller filler_;
    std::vector<Run> runs_;
    std::vector<Run> starts_;
    std::vector<std::size_t> parents_;
    std::vector<Point> corners_;
    std::vector<Point> kept_;
    std::vector<bool> keep_;
    std::vector<std::pair<std::size_t, std::size_t>> pending_;
};

}  // namespace

Outlines trace_masks(const std::uint8_t* masks, std::size_t count, std::size_t height,
                     std::size_t width, double tolerance_px, unsigned threads, const Poll& poll) {
    std::vector<Outlines> found(count);
    parallel_for(
        count, threads,
        [&] {
            return [&, tracer = Tracer(tolerance_px)](std::size_t i, std::atomic<bool>&) mutable {
                const auto index = static_cast<std::int64_t>(i);
                tracer.trace(masks + i * height * width, height, width, index, found[i]);
            };
        },
        poll);
    Outlines all;
    for (Outlines& one : found) {
        const auto offset = static_cast<std::int64_t>(all.points.size());
        all.points.insert(all.points.end(), one.points.begin(), one.points.end());
        for (std::size_t p = 1; p < one.starts.size(); ++p)
            all.starts.push_back(one.starts[p] + offset);
        all.masks.insert(all.masks.end(), one.masks.begin(), one.masks.end());
        all.layers.insert(all.layers.end(), one.layers.begin(), one.layers.end());
        one = Outlines();
    }
    return all;
}

}  // namespace iosfast

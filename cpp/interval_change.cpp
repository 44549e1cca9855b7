#include "interval_change.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace iosfast {
namespace {

// Box means of one image, by running sums: down the columns, then along the row.
class BoxFilter {
  public:
    BoxFilter(std::size_t height, std::size_t width, std::size_t size, Border border, bool rounded)
        : height_(height),
          width_(width),
          radius_(size / 2),
          border_(border),
          rounded_(rounded),
          columns_(width),
          sums_(width) {
        counts_.reserve(width);
        for (std::size_t x = 0; x < width; ++x)
            counts_.push_back(border == Border::zero ? size : within(x, width));
    }

    void run(const std::uint16_t* image, float* out) {
        std::fill(columns_.begin(), columns_.end(), 0U);
        for (std::size_t y = 0; y < std::min(radius_, height_); ++y) add_row(image, y);
        for (std::size_t y = 0; y < height_; ++y) {
            if (y + radius_ < height_) add_row(image, y + radius_);
            if (y > radius_) subtract_row(image, y - radius_ - 1);
            sum_along_row();
            write_row(y, out + y * width_);
        }
    }

  private:
    std::size_t within(std::size_t at, std::size_t length) const {
        return std::min(at + radius_, length - 1) - (at > radius_ ? at - radius_ : 0) + 1;
    }
    void add_row(const std::uint16_t* image, std::size_t y) {
        const std::uint16_t* row = image + y * width_;
        for (std::size_t x = 0; x < width_; ++x) columns_[x] += row[x];
    }
    void subtract_row(const std::uint16_t* image, std::size_t y) {
        const std::uint16_t* row = image + y * width_;
        for (std::size_t x = 0; x < width_; ++x) columns_[x] -= row[x];
    }
    void sum_along_row() {
        std::uint32_t sum = 0;
        for (std::size_t x = 0; x < std::min(radius_, width_); ++x) sum += columns_[x];
        for (std::size_t x = 0; x < width_; ++x) {
            if (x + radius_ < width_) sum += columns_[x + radius_];
            if (x > radius_) sum -= columns_[x - radius_ - 1];
            sums_[x] = sum;
        }
    }
    void write_row(std::size_t y, float* out) const {
        const std::size_t rows = border_ == Border::zero ? 2 * radius_ + 1 : within(y, height_);
        for (std::size_t x = 0; x < width_; ++x) {
            // By way of int32: SSE2 converts no unsigned integers.
            const double sum =
                static_cast<double>(static_cast<std::int32_t>(sums_[x] ^ 0x80000000U)) +
                2147483648.0;
            const auto count = static_cast<double>(static_cast<std::int32_t>(rows * counts_[x]));
            if (rounded_) {
                // As in temporal_binning.cpp: half a unit away from every integer it could miss.
                const double q = (2.0 * sum + count + 0.5) / (2.0 * count);
                out[x] = static_cast<float>(static_cast<std::int32_t>(q));
            } else {
                out[x] = static_cast<float>(sum / count);
            }
        }
    }

    std::size_t height_, width_, radius_;
    Border border_;
    bool rounded_;
    std::vector<std::uint32_t> columns_, sums_;
    std::vector<std::size_t> counts_;  // pixels of the box within the image, along the row
};

// Sums over a window of `size` rows, from `size / 2` before each row on, by sums that run down and
// up in blocks of `size` rows. Nothing is subtracted, so no value leaves a trace outside of its
// windows.
class WindowSums {
  public:
    WindowSums(std::size_t rows, std::size_t columns, std::size_t size)
        : rows_(rows), columns_(columns), size_(size), up_(size * columns), down_(columns) {}

    // `row(y)` gives row y of the input; `emit(y, a, b)` takes the sum as two rows to be added, of
    // which b is null where there is none.
    template <class Row, class Emit>
    void run(Row row, Emit emit) {
        const auto rows = static_cast<std::ptrdiff_t>(rows_),
                   size = static_cast<std::ptrdiff_t>(size_);
        for (std::ptrdiff_t block = -(size / 2); block + size / 2 < rows; block += size) {
            for (std::ptrdiff_t k = size - 1; k >= 0; --k) {
                double* sums = up_.data() + static_cast<std::size_t>(k) * columns_;
                if (k == size - 1)
                    std::fill_n(sums, columns_, 0.0);
                else
                    std::copy_n(sums + columns_, columns_, sums);
                if (block + k >= 0 && block + k < rows) add(row, block + k, sums);
            }
            std::fill(down_.begin(), down_.end(), 0.0);
            for (std::ptrdiff_t k = 0; k < size && block + k + size / 2 < rows; ++k) {
                const std::ptrdiff_t next = block + size + k - 1;
                if (k > 0 && next >= 0 && next < rows) add(row, next, down_.data());
                emit(static_cast<std::size_t>(block + k + size / 2),
                     up_.data() + static_cast<std::size_t>(k) * columns_,
                     k > 0 ? down_.data() : nullptr);
            }
        }
    }

  private:
    template <class Row>
    void add(Row& row, std::ptrdiff_t y, double* sums) const {
        const auto* values = row(static_cast<std::size_t>(y));
        for (std::size_t x = 0; x < columns_; ++x) sums[x] += static_cast<double>(values[x]);
    }

    std::size_t rows_, columns_, size_;
    std::vector<double> up_, down_;
};

// Box means of an image of floats. Columns of the image are added first, then each row's sums.
class FloatBoxFilter {
  public:
    FloatBoxFilter(std::size_t height, std::size_t width, std::size_t size, Border border,
                   bool rounded)
        : height_(height),
          width_(width),
          size_(size),
          border_(border),
          rounded_(rounded),
          vertical_(height, width, size),
          horizontal_(width, 1, size),
          sums_(width) {}

    template <class T>
    void run(const T* image, float* out) {
        const auto image_row = [&](std::size_t y) { return image + y * width_; };
        vertical_.run(image_row, [&](std::size_t y, const double* a, const double* b) {
            for (std::size_t x = 0; x < width_; ++x) sums_[x] = b ? a[x] + b[x] : a[x];
            const std::size_t rows = count(y, height_);
            float* to = out + y * width_;
            const auto pixel = [&](std::size_t x) { return sums_.data() + x; };
            horizontal_.run(pixel, [&](std::size_t x, const double* c, const double* d) {
                const double mean =
                    (d ? *c + *d : *c) / static_cast<double>(rows * count(x, width_));
                to[x] = static_cast<float>(rounded_ ? std::round(mean) : mean);
            });
        });
    }

  private:
    std::size_t count(std::size_t at, std::size_t length) const {
        const std::size_t radius = size_ / 2;
        if (border_ == Border::zero) return size_;
        return std::min(at + radius, length - 1) - (at > radius ? at - radius : 0) + 1;
    }

    std::size_t height_, width_, size_;
    Border border_;
    bool rounded_;
    WindowSums vertical_, horizontal_;
    std::vector<double> sums_;
};

// One map, piece by piece. A scale per map needs its extremes first, so the change is computed
// twice: that is faster than keeping it.
template <class ChangeOf>
bool make_map(const float* earlier, const float* later, std::size_t pixels, ChangeOf change_of,
              const std::uint8_t* mask, bool per_map, Painter& painter, float* change,
              std::uint8_t* rgb) {
    std::array<double, Painter::kPiece> values;  // NOLINT: written before it is read
    const auto compute = [&](std::size_t at, std::size_t n) {
        for (std::size_t i = 0; i < n; ++i) {
            values[i] =
                change_of(static_cast<double>(earlier[at + i]), static_cast<double>(later[at + i]));
        }
    };
    const auto paint = [&](std::size_t at, std::size_t n) {
        painter.paint(values.data(), mask ? mask + at : nullptr, rgb + 3 * at, n, at + n == pixels);
    };
    Extremes extremes;
    for (std::size_t at = 0; at < pixels; at += values.size()) {
        const std::size_t n = std::min(values.size(), pixels - at);
        compute(at, n);
        for (std::size_t i = 0; i < n; ++i) change[at + i] = static_cast<float>(values[i]);
        if (per_map)
            extremes.add(values.data(), n);
        else
            paint(at, n);
    }
    if (!per_map) return true;
    const bool defined = painter.set_extremes(extremes);
    for (std::size_t at = 0; at < pixels; at += values.size()) {
        const std::size_t n = std::min(values.size(), pixels - at);
        compute(at, n);
        paint(at, n);
    }
    return defined;
}

}  // namespace

template <class T>
void box_mean(const T* images, std::size_t count, std::size_t height, std::size_t width,
              std::size_t size, Border border, bool rounded, float* out, unsigned threads) {
    if (size % 2 == 0 || size > kMaxBox) {
        throw std::invalid_argument("the size of a smoothing box must be odd and at most " +
                                    std::to_string(kMaxBox) + ", not " + std::to_string(size));
    }
    using Filter = std::conditional_t<std::is_same_v<T, std::uint16_t>, BoxFilter, FloatBoxFilter>;
    parallel_for(count, threads, [&] {
        return [&, filter = Filter(height, width, size, border, rounded)](
                   std::size_t i, const std::atomic<bool>&) mutable {
            filter.run(images + i * height * width, out + i * height * width);
        };
    });
}

template void box_mean(const std::uint16_t*, std::size_t, std::size_t, std::size_t, std::size_t,
                       Border, bool, float*, unsigned);
template void box_mean(const float*, std::size_t, std::size_t, std::size_t, std::size_t, Border,
                       bool, float*, unsigned);
template void box_mean(const double*, std::size_t, std::size_t, std::size_t, std::size_t, Border,
                       bool, float*, unsigned);

void change_maps(const float* earlier, std::size_t earlier_stride, const float* later,
                 std::size_t count, std::size_t pixels, Change kind, const ColorScale& scale,
                 const Colormap& colormap, const std::uint8_t* mask, float* change,
                 std::uint8_t* rgb, std::uint8_t* undefined_scale, unsigned threads) {
    parallel_for(count, threads, [&] {
        return [&, painter = Painter(colormap, scale)](std::size_t i,
                                                       const std::atomic<bool>&) mutable {
            const auto run = [&](auto change_of) {
                return make_map(earlier + i * earlier_stride, later + i * pixels, pixels, change_of,
                                mask, scale.per_map, painter, change + i * pixels,
                                rgb + 3 * i * pixels);
            };
            bool defined = true;
            switch (kind) {
                case Change::ratio:
                    defined = run([](double a, double b) { return b / a; });
                    break;
                case Change::difference:
                    defined = run([](double a, double b) { return b - a; });
                    break;
                case Change::dff:
                    defined = run([](double a, double b) { return (b - a) / a; });
                    break;
            }
            undefined_scale[i] = defined ? 0 : 1;
        };
    });
}

}  // namespace iosfast

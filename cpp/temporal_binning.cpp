#include "temporal_binning.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <stdexcept>
#include <string>

#include "transposition.hpp"

namespace iosfast {
namespace {

// Pixels fetched at a time: sums and four frames of a tile stay in the second-level cache.
constexpr std::size_t kTile = std::size_t{1} << 16U;
constexpr std::size_t kMemoryTile = std::size_t{1} << 15U;  // where nothing need be fetched

// Asks for pixels a little before they are needed. Measured on a Xeon with AMX, for frames that
// come from memory: 52 instead of 73 microseconds for one of 512 x 512, 37 instead of 43 four at a
// time.
void prefetch(const std::byte* pixels) {
#if defined(__GNUC__)
    constexpr std::size_t kAheadBytes = 2048;
    __builtin_prefetch(pixels + kAheadBytes);
#else
    static_cast<void>(pixels);
#endif
}

// Pixels between two prefetches: a cache line of uint16.
constexpr std::size_t kLine = 32;

// Pixel i, in this machine's byte order, as what is summed.
template <class T, bool Swapped>
SumOf<T> summand(const std::byte* pixels, std::size_t i) {
    if constexpr (Swapped && sizeof(T) > 1)
        return static_cast<SumOf<T>>(std::bit_cast<T>(turned(load<WordOf<T>>(pixels, i))));
    else
        return static_cast<SumOf<T>>(load<T>(pixels, i));
}

// Sums of floats are added up one after the other, so that they do not depend on the grouping.
template <class T, bool Swapped>
void add_four(SumOf<T>* __restrict sums, const std::byte* __restrict a,
              const std::byte* __restrict b, const std::byte* __restrict c,
              const std::byte* __restrict d, std::size_t n) {
    const auto add = [&](std::size_t i) {
        const auto va = summand<T, Swapped>(a, i), vb = summand<T, Swapped>(b, i),
                   vc = summand<T, Swapped>(c, i), vd = summand<T, Swapped>(d, i);
        if constexpr (std::is_integral_v<SumOf<T>>)
            sums[i] += va + vb + vc + vd;
        else
            sums[i] = (((sums[i] + va) + vb) + vc) + vd;
    };
    const std::size_t whole = n - n % kLine;
    for (std::size_t at = 0; at < whole; at += kLine) {
        for (const std::byte* pixels : {a, b, c, d}) prefetch(pixels + at * sizeof(T));
        for (std::size_t i = at; i < at + kLine; ++i) add(i);
    }
    for (std::size_t i = whole; i < n; ++i) add(i);
}

template <class T, bool Swapped>
void add_one(SumOf<T>* __restrict sums, const std::byte* __restrict a, std::size_t n) {
    const std::size_t whole = n - n % kLine;
    for (std::size_t at = 0; at < whole; at += kLine) {
        prefetch(a + at * sizeof(T));
        for (std::size_t i = at; i < at + kLine; ++i) sums[i] += summand<T, Swapped>(a, i);
    }
    for (std::size_t i = whole; i < n; ++i) sums[i] += summand<T, Swapped>(a, i);
}

// Adds pixels [begin, end) of frames [first, last) to sums (which starts at `begin`).
template <class T>
class Summer {
    using Sum = SumOf<T>;

  public:
    explicit Summer(const FrameSource& source)
        : source_(source),
          cursor_(source.cursor()),
          tile_(std::min(source.in_memory() ? kMemoryTile : kTile, source.pixels())),
          scratch_(source.in_memory() ? 0 : kFramesAtOnce * tile_ * sizeof(T)) {}

    void add(std::size_t first, std::size_t last, std::size_t begin, std::size_t end, Sum* sums,
             const std::atomic<bool>& stop) {
        if (source_.in_memory()) {
            // Tiles outside: their sums stay in the cache.
            for (std::size_t at = begin; at < end && !stop; at += tile_) {
                const std::size_t n = std::min(tile_, end - at);
                for (std::size_t frame = first; frame < last;)
                    frame += add_tile(frame, last, at, n, sums + (at - begin));
            }
            return;
        }
        // Frames outside: files are read nearly in order whatever the frame's size.
        cursor_->expect(first, last);
        for (std::size_t frame = first; frame < last && !stop;) {
            std::size_t added = 0;
            for (std::size_t at = begin; at < end; at += tile_) {
                const std::size_t n = std::min(tile_, end - at);
                added = add_tile(frame, last, at, n, sums + (at - begin));
            }
            frame += added;
        }
    }

  private:
    const std::byte* fetch(std::size_t frame, std::size_t begin, std::size_t n, std::size_t slot) {
        std::byte* scratch =
            scratch_.empty() ? nullptr : scratch_.data() + slot * tile_ * sizeof(T);
        return cursor_->fetch(frame, begin * sizeof(T), n * sizeof(T), scratch);
    }

    // Adds one tile of the next four frames, or of one if fewer are left; returns how many.
    std::size_t add_tile(std::size_t frame, std::size_t last, std::size_t at, std::size_t n,
                         Sum* sums) {
        if (last - frame < kFramesAtOnce) {
            const std::byte* pixels = fetch(frame, at, n, 0);
            if (source_.swapped)
                add_one<T, true>(sums, pixels, n);
            else
                add_one<T, false>(sums, pixels, n);
            return 1;
        }
        std::array<const std::byte*, kFramesAtOnce> p{};
        for (std::size_t k = 0; k < kFramesAtOnce; ++k) p[k] = fetch(frame + k, at, n, k);
        if (source_.swapped)
            add_four<T, true>(sums, p[0], p[1], p[2], p[3], n);
        else
            add_four<T, false>(sums, p[0], p[1], p[2], p[3], n);
        return kFramesAtOnce;
    }

    const FrameSource& source_;
    std::unique_ptr<FrameCursor> cursor_;
    std::size_t tile_;
    std::vector<std::byte> scratch_;
};

// round(sum / count), halves up. (2 sum + count + 1/2) / (2 count) lies at least 1 / (4 count) from
// every integer, so the rounding of the product with the reciprocal cannot change its floor.
void write_mean(const std::uint32_t* __restrict sums, std::uint64_t count,
                std::uint16_t* __restrict out, std::size_t n) {
    const double inverse = 1.0 / (2.0 * static_cast<double>(count));
    const double bias = static_cast<double>(count) + 0.5;
    for (std::size_t i = 0; i < n; ++i) {
        // By way of int32: SSE2 converts no unsigned integers.
        const double sum =
            static_cast<double>(static_cast<std::int32_t>(sums[i] ^ 0x80000000U)) + 2147483648.0;
        out[i] =
            static_cast<std::uint16_t>(static_cast<std::int32_t>((2.0 * sum + bias) * inverse));
    }
}

// Correctly rounded for integers, whose sums are exact.
template <class Mean>
void write_mean(const double* __restrict sums, std::uint64_t count, Mean* __restrict out,
                std::size_t n) {
    const auto divisor = static_cast<double>(count);
    for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<Mean>(sums[i] / divisor);
}

// Writes means of pixels [begin, end), whole rows if they are transposed, to where they belong in
// an image of this shape, or of the transposed one.
template <class Sum, class Mean>
void write_part(const Sum* sums, std::uint64_t count, std::size_t begin, std::size_t end,
                std::size_t height, std::size_t width, bool transposed, Mean* image,
                std::vector<Mean>& scratch) {
    if (!transposed) {
        write_mean(sums, count, image + begin, end - begin);
        return;
    }
    scratch.resize(end - begin);
    write_mean(sums, count, scratch.data(), scratch.size());
    transpose_rows(scratch.data(), begin / width, end / width, height, width, image);
}

void check_bin(std::uint64_t frames) {
    if (frames > kMaxFramesPerBin) {
        throw std::invalid_argument("a bin of " + std::to_string(frames) +
                                    " frames is more than the " + std::to_string(kMaxFramesPerBin) +
                                    " whose sum is sure to fit; make the bins shorter");
    }
}

// How many pieces a frame is cut into, so that several threads can work on one bin.
std::size_t parts_of(const FrameSource& source, std::size_t bins, unsigned threads) {
    const std::size_t count = thread_count(threads);
    if (source.frame_is_unit() || (source.in_memory() && bins >= 4 * count)) return 1;
    return std::clamp<std::size_t>(source.pixels() / kTile, 1, count);
}

template <class T>
void bin_typed(const FrameSource& source, std::span<const std::int64_t> edges, MeanOf<T>* out,
               bool transposed, unsigned threads, const Poll& poll) {
    const auto origin = static_cast<std::size_t>(edges.front());
    const auto map = source.mapped(origin, static_cast<std::size_t>(edges.back()));
    const FrameSource& from = map ? *map : source;
    const std::size_t skipped = map ? origin : 0;
    const std::size_t bins = edges.size() - 1;
    const std::size_t pixels = source.pixels();
    std::size_t parts = parts_of(from, bins, threads);
    // Each has a row: without pixels, no frame would ever be done.
    if (transposed) parts = std::min(parts, source.height);
    const auto begin_of = [&](std::size_t part) {
        return transposed ? source.height * part / parts * source.width : pixels * part / parts;
    };
    const auto frames = static_cast<std::size_t>(edges.back() - edges.front());
    const std::size_t units = bins * parts;
    Poll frames_done;
    if (poll) frames_done = [&](std::size_t done) { poll(frames * done / units); };

    parallel_for(
        units, threads,
        [&] {
            return [&, summer = Summer<T>(from), sums = std::vector<SumOf<T>>(),
                    scratch = std::vector<MeanOf<T>>()](std::size_t unit,
                                                        const std::atomic<bool>& stop) mutable {
                const std::size_t bin = unit / parts, part = unit % parts;
                const std::size_t begin = begin_of(part), end = begin_of(part + 1);
                sums.assign(end - begin, 0);
                const std::size_t first = static_cast<std::size_t>(edges[bin]) - skipped;
                const std::size_t last = static_cast<std::size_t>(edges[bin + 1]) - skipped;
                from.prepare(first, last);
                summer.add(first, last, begin, end, sums.data(), stop);
                from.release(first, last);
                write_part(sums.data(), last - first, begin, end, source.height, source.width,
                           transposed, out + bin * pixels, scratch);
            };
        },
        frames_done);
}

}  // namespace

void bin_frames(const FrameSource& source, std::span<const std::int64_t> edges, void* out,
                bool transposed, unsigned threads, const Poll& poll) {
    if (edges.size() < 2) throw std::invalid_argument("edges must hold at least two entries");
    if (edges.front() < 0 || static_cast<std::uint64_t>(edges.back()) > source.frames)
        throw std::invalid_argument("edges must lie within the frames of the source");
    for (std::size_t b = 0; b + 1 < edges.size(); ++b) {
        if (edges[b + 1] <= edges[b]) throw std::invalid_argument("edges must increase");
        check_bin(static_cast<std::uint64_t>(edges[b + 1] - edges[b]));
    }
    visit_type(source.type, [&](auto pixel) {
        using T = decltype(pixel);
        bin_typed<T>(source, edges, static_cast<MeanOf<T>*>(out), transposed, threads, poll);
    });
}

BinAccumulator::BinAccumulator(std::size_t height, std::size_t width, PixelType mean)
    : height(height), width(width), mean_type(mean) {
    if (mean == PixelType::uint16)
        sums_ = std::vector<std::uint32_t>(height * width);
    else if (mean == PixelType::float32 || mean == PixelType::float64)
        sums_ = std::vector<double>(height * width);
    else
        throw std::invalid_argument("means are uint16, float32 or float64");
}

void BinAccumulator::add(const FrameSource& source, std::size_t first, std::size_t last,
                         unsigned threads) {
    if (source.height != height || source.width != width || first > last || last > source.frames)
        throw std::invalid_argument("frames of another shape, or a range outside of the source");
    if (iosfast::mean_type(source.type) != mean_type)
        throw std::invalid_argument("frames whose mean is of another type");
    check_bin(frames_ + (last - first));
    // A few frames are summed faster than a thread is started.
    const bool few = (last - first) * source.frame_bytes() < (std::size_t{8} << 20U);
    const std::size_t parts = few ? 1 : parts_of(source, 1, threads);
    const std::size_t pixels = source.pixels();
    try {
        visit_type(source.type, [&](auto pixel) {
            using T = decltype(pixel);
            auto& sums = std::get<std::vector<SumOf<T>>>(sums_);
            parallel_for(parts, few ? 1 : threads, [&] {
                return [&, summer = Summer<T>(source)](std::size_t part,
                                                       const std::atomic<bool>& stop) mutable {
                    const std::size_t begin = pixels * part / parts;
                    const std::size_t end = pixels * (part + 1) / parts;
                    summer.add(first, last, begin, end, sums.data() + begin, stop);
                };
            });
        });
    } catch (...) {  // some of the frames are in the sums: none of them may count
        reset();
        throw;
    }
    frames_ += last - first;
}

void BinAccumulator::merge(BinAccumulator& other) {
    if (&other == this || other.height != height || other.width != width)
        throw std::invalid_argument("only the frames of another one of the same shape are added");
    auto* sums = std::get_if<std::vector<std::uint32_t>>(&sums_);
    const auto* more = std::get_if<std::vector<std::uint32_t>>(&other.sums_);
    if (sums == nullptr || more == nullptr)
        throw std::invalid_argument("only sums of whole numbers do not depend on their order");
    check_bin(frames_ + other.frames_);
    std::transform(sums->begin(), sums->end(), more->begin(), sums->begin(), std::plus<>());
    frames_ += other.frames_;
    other.reset();
}

void BinAccumulator::mean(void* out, bool transposed) {
    if (frames_ == 0) throw std::invalid_argument("no frame was added to this bin");
    const auto write = [&]<class Mean>(const auto& sums, Mean* image) {
        std::vector<Mean> scratch;
        write_part(sums.data(), frames_, 0, sums.size(), height, width, transposed, image, scratch);
    };
    if (const auto* counts = std::get_if<std::vector<std::uint32_t>>(&sums_))
        write(*counts, static_cast<std::uint16_t*>(out));
    else if (mean_type == PixelType::float32)
        write(std::get<std::vector<double>>(sums_), static_cast<float*>(out));
    else
        write(std::get<std::vector<double>>(sums_), static_cast<double*>(out));
    reset();
}

void BinAccumulator::reset() {
    std::visit([](auto& sums) { std::fill(sums.begin(), sums.end(), 0); }, sums_);
    frames_ = 0;
}

}  // namespace iosfast

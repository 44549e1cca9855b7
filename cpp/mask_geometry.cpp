#include "mask_geometry.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <vector>

#if defined(__SSE2__) || defined(_M_X64)
#define IOSFAST_SSE2
#include <emmintrin.h>
#endif

namespace iosfast {
namespace {

constexpr std::size_t kWordBits = 64;
constexpr std::size_t kBandRows = 32;  // rows of one unit of work: about a first-level cache
constexpr std::int64_t kNothing = std::numeric_limits<std::int64_t>::max();

using Word = std::uint64_t;
using Counts = std::array<std::int64_t, kMaskCounts>;

Counts no_counts() {
    Counts counts{};
    counts[kMinX] = counts[kMinY] = kNothing;
    counts[kMaxX] = counts[kMaxY] = -1;
    return counts;
}

// Bit i of the result: whether byte i of 64 is not 0.
#ifdef IOSFAST_SSE2  // on every x86-64; halves the time of masks that are not empty
Word pack64(const std::uint8_t* bytes) {
    const auto* from = reinterpret_cast<const __m128i*>(bytes);
    const __m128i a = _mm_loadu_si128(from);
    const __m128i b = _mm_loadu_si128(from + 1);
    const __m128i c = _mm_loadu_si128(from + 2);
    const __m128i d = _mm_loadu_si128(from + 3);
    const __m128i zero = _mm_setzero_si128();
    const auto zeros = [zero](__m128i v) {
        return static_cast<Word>(_mm_movemask_epi8(_mm_cmpeq_epi8(v, zero)));
    };
    if (zeros(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) == 0xFFFF) return 0;
    return ~(zeros(a) | (zeros(b) << 16) | (zeros(c) << 32) | (zeros(d) << 48));
}
#else
Word pack64(const std::uint8_t* bytes) {
    Word word = 0;
    for (std::size_t i = 0; i < kWordBits; ++i) word |= Word{bytes[i] != 0} << i;
    return word;
}
#endif

// Without the processor's own instruction, which not every x86-64 has, std::popcount is a call.
std::int64_t ones(Word w) {
    w -= (w >> 1) & 0x5555555555555555U;
    w = (w & 0x3333333333333333U) + ((w >> 2) & 0x3333333333333333U);
    w = (w + (w >> 4)) & 0x0F0F0F0F0F0F0F0FU;
    return static_cast<std::int64_t>((w * 0x0101010101010101U) >> 56);
}

// Packs a row; returns whether there is anything in it. There are width / 64 + 1 words, so that
// the bit behind the last pixel exists.
bool pack_row(const std::uint8_t* row, std::size_t width, Word* words) {
    const std::size_t full = width / kWordBits;
    Word any = 0;
    for (std::size_t i = 0; i < full; ++i) {
        const Word word = pack64(row + i * kWordBits);
        words[i] = word;
        any |= word;
    }
    Word last = 0;
    for (std::size_t x = full * kWordBits; x < width; ++x)
        last |= Word{row[x] != 0} << (x % kWordBits);
    words[full] = last;
    return (any | last) != 0;
}

std::int64_t squares_below(std::int64_t n) {
    return (n - 1) * n * (2 * n - 1) / 6;
}

// Adds the pixels of one row, run by run.
void add_runs(const Word* row, std::size_t words, std::int64_t y, Counts& counts) {
    std::int64_t area = 0;
    std::int64_t sum_x = 0;
    std::int64_t begin = 0;
    bool inside = false;
    Word carry = 0;
    for (std::size_t i = 0; i < words; ++i) {
        Word edges = row[i] ^ ((row[i] << 1) | carry);
        carry = row[i] >> (kWordBits - 1);
        for (; edges; edges &= edges - 1) {
            const auto x = static_cast<std::int64_t>(i * kWordBits) + std::countr_zero(edges);
            ++counts[kCrossX];
            if (!inside) {
                begin = x;
            } else {
                area += x - begin;
                sum_x += (x - begin) * (x + begin - 1) / 2;
                counts[kSumXX] += squares_below(x) - squares_below(begin);
                counts[kMinX] = std::min(counts[kMinX], begin);
                counts[kMaxX] = std::max(counts[kMaxX], x - 1);
            }
            inside = !inside;
        }
    }
    counts[kArea] += area;
    counts[kSumX] += sum_x;
    counts[kSumY] += y * area;
    counts[kSumYY] += y * y * area;
    counts[kSumXY] += y * sum_x;
    counts[kMinY] = std::min(counts[kMinY], y);
    counts[kMaxY] = std::max(counts[kMaxY], y);
}

// Adds the pairs of neighbours of a row and the one above it.
void add_crossings(const Word* above, const Word* row, std::size_t words, Counts& counts) {
    Word carry = 0;
    std::int64_t y = 0;
    std::int64_t down = 0;
    auto up = static_cast<std::int64_t>(above[0] & 1);  // its neighbour is outside the image
    for (std::size_t i = 0; i < words; ++i) {
        const Word next = i + 1 < words ? above[i + 1] : 0;
        if ((row[i] | above[i] | carry | next) == 0) continue;
        y += ones(row[i] ^ above[i]);
        down += ones(row[i] ^ ((above[i] << 1) | carry));
        up += ones(row[i] ^ ((above[i] >> 1) | (next << (kWordBits - 1))));
        carry = above[i] >> (kWordBits - 1);
    }
    counts[kCrossY] += y;
    counts[kCrossDown] += down;
    counts[kCrossUp] += up;
}

std::int64_t pixels_of(const Word* row, std::size_t words) {
    std::int64_t pixels = 0;
    for (std::size_t i = 0; i < words; ++i) pixels += ones(row[i]);
    return pixels;
}

// A band of rows of one object, through all its images.
class Band {
  public:
    Band(std::size_t height, std::size_t width, bool outlined)
        : height_(height), width_(width), words_(width / kWordBits + 1), outlined_(outlined) {
        const std::size_t most = std::min(kBandRows, height);
        rows_.resize((most + 2) * words_);
        outline_.resize(outlined ? most * words_ : 0);
        before_.resize(most * words_);
        seen_.resize(most * words_);
        filled_.resize(most + 1);
    }

    // Forgets all images; begins the band at this row.
    void begin(std::size_t top) {
        top_ = top;
        bottom_ = std::min(top + kBandRows, height_);
        std::fill(before_.begin(), before_.end(), 0);
        std::fill(seen_.begin(), seen_.end(), 0);
        std::fill(outline_.begin(), outline_.end(), 0);
    }

    // `first` is the map of the whole image, of which the band writes its own rows.
    Counts add(const std::uint8_t* mask, std::int32_t number, std::int32_t* first) {
        Counts counts = no_counts();
        Word* above = rows_.data();
        std::fill_n(above, words_, 0);
        bool above_filled = top_ > 0 && pack_row(mask + (top_ - 1) * width_, width_, above);
        for (std::size_t y = top_; y < bottom_; ++y) {
            const std::size_t at = (y - top_) * words_;
            Word* row = rows_.data() + at + words_;
            const bool filled = pack_row(mask + y * width_, width_, row);
            if (filled) add_runs(row, words_, static_cast<std::int64_t>(y), counts);
            if (filled || above_filled) add_crossings(row - words_, row, words_, counts);
            if (filled) {
                add_border(row, y, counts);
                add_history(row, at, number, first + y * width_, counts);
            }
            if (filled || filled_[y - top_]) std::copy_n(row, words_, before_.data() + at);
            filled_[y - top_] = filled;
            above_filled = filled;
        }
        if (outlined_) add_outline(mask);
        if (bottom_ == height_ && above_filled) {  // the row below the image
            const std::vector<Word> outside(words_);
            add_crossings(rows_.data() + (bottom_ - top_) * words_, outside.data(), words_, counts);
        }
        return counts;
    }

    // Writes its rows of the outlines of all images so far.
    void write_outline(std::uint8_t* outline) const {
        for (std::size_t y = top_; y < bottom_; ++y) {
            const Word* row = outline_.data() + (y - top_) * words_;
            for (std::size_t x = 0; x < width_; ++x)
                outline[y * width_ + x] =
                    static_cast<std::uint8_t>((row[x / kWordBits] >> (x % kWordBits)) & 1);
        }
    }

  private:
    void add_outline(const std::uint8_t* mask) {
        const std::size_t count = bottom_ - top_;
        Word* end = rows_.data() + (count + 1) * words_;
        if (bottom_ < height_)
            pack_row(mask + bottom_ * width_, width_, end);
        else
            std::fill_n(end, words_, 0);
        for (std::size_t y = 0; y < count; ++y) {
            if (!filled_[y]) continue;
            const Word* above = rows_.data() + y * words_;
            const Word* row = above + words_;
            const Word* below = row + words_;
            Word carry = 0;
            for (std::size_t i = 0; i < words_; ++i) {
                const Word next = i + 1 < words_ ? row[i + 1] << (kWordBits - 1) : 0;
                const Word inside =
                    above[i] & below[i] & ((row[i] << 1) | carry) & ((row[i] >> 1) | next);
                outline_[y * words_ + i] |= row[i] & ~inside;
                carry = row[i] >> (kWordBits - 1);
            }
        }
    }

    void add_border(const Word* row, std::size_t y, Counts& counts) const {
        if (y == 0 || y + 1 == height_) {
            counts[kBorder] += pixels_of(row, words_);
            return;
        }
        const std::size_t last = width_ - 1;
        counts[kBorder] += static_cast<std::int64_t>(row[0] & 1);
        if (last > 0)
            counts[kBorder] +=
                static_cast<std::int64_t>((row[last / kWordBits] >> (last % kWordBits)) & 1);
    }

    void add_history(const Word* row, std::size_t at, std::int32_t number, std::int32_t* first,
                     Counts& counts) {
        for (std::size_t i = 0; i < words_; ++i) {
            if (row[i] == 0) continue;
            counts[kOverlap] += ones(row[i] & before_[at + i]);
            Word fresh = row[i] & ~seen_[at + i];
            seen_[at + i] |= fresh;
            counts[kNew] += ones(fresh);
            for (; fresh; fresh &= fresh - 1)
                first[i * kWordBits + static_cast<std::size_t>(std::countr_zero(fresh))] = number;
        }
    }

    std::size_t height_, width_, words_;
    bool outlined_;
    std::size_t top_ = 0, bottom_ = 0;
    std::vector<Word> rows_;  // one above the band, its own, and one below
    std::vector<Word> outline_;
    std::vector<Word> before_, seen_;
    std::vector<char> filled_;
};

void join(Counts& all, const std::int64_t* counts) {
    for (std::size_t k = 0; k < kMaskCounts; ++k) {
        if (k == kMinX || k == kMinY)
            all[k] = std::min(all[k], counts[k]);
        else if (k == kMaxX || k == kMaxY)
            all[k] = std::max(all[k], counts[k]);
        else
            all[k] += counts[k];
    }
}

}  // namespace

void mask_geometry(const std::uint8_t* masks, std::size_t objects, std::size_t images,
                   std::size_t height, std::size_t width, std::int64_t* counts, std::int32_t* first,
                   std::uint8_t* outline, unsigned threads, const Poll& poll) {
    if (height == 0 || width == 0 || height > kMaxMaskSide || width > kMaxMaskSide)
        throw std::invalid_argument("sides of masks must be 1 to 32768 pixels");
    if (images > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
        throw std::invalid_argument("there are too many masks");
    const std::size_t pixels = height * width;
    const std::size_t bands = (height + kBandRows - 1) / kBandRows;
    std::fill_n(first, objects * pixels, -1);
    for (std::size_t n = 0; n < objects * images; ++n)
        std::copy_n(no_counts().data(), std::size_t{kMaskCounts}, counts + n * kMaskCounts);

    std::mutex mutex;  // integers: the order in which bands are added does not matter
    auto make_body = [&] {
        return
            [&, band = Band(height, width, outline != nullptr), own = std::vector<Counts>(images)](
                std::size_t unit, const std::atomic<bool>& stop) mutable {
                const std::size_t object = unit / bands;
                band.begin(unit % bands * kBandRows);
                const std::uint8_t* stack = masks + object * images * pixels;
                for (std::size_t t = 0; t < images && !stop; ++t)
                    own[t] = band.add(stack + t * pixels, static_cast<std::int32_t>(t),
                                      first + object * pixels);
                if (outline != nullptr && !stop) band.write_outline(outline + object * pixels);
                const std::scoped_lock lock(mutex);
                for (std::size_t t = 0; t < images && !stop; ++t) {
                    std::int64_t* to = counts + (object * images + t) * kMaskCounts;
                    join(own[t], to);
                    std::copy(own[t].begin(), own[t].end(), to);
                }
            };
    };
    parallel_for(objects * bands, threads, make_body, poll);
    for (std::size_t n = 0; n < objects * images; ++n) {
        std::int64_t* of = counts + n * kMaskCounts;
        if (of[kArea] == 0) of[kMinX] = of[kMinY] = -1;
    }
}

}  // namespace iosfast

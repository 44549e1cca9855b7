#include "transposition.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "parallel_for.hpp"

namespace iosfast {
namespace {

// Sides of the squares that are exchanged at a time: their rows, before and after, stay in the
// first-level cache although they lie far apart.
constexpr std::size_t kSide = 32;

// Rows of an image that one thread takes at a time.
constexpr std::size_t kRows = 2 * kSide;

// Less is done before another thread has started.
constexpr std::size_t kFewBytes = std::size_t{1} << 20U;

template <class Word>
void transpose_rows(const std::byte* in, std::size_t height, std::size_t width, std::size_t first,
                    std::size_t last, std::byte* out) {
    for (std::size_t top = first; top < last; top += kSide) {
        const std::size_t bottom = std::min(top + kSide, last);
        for (std::size_t left = 0; left < width; left += kSide) {
            const std::size_t right = std::min(left + kSide, width);
            for (std::size_t x = left; x < right; ++x) {
                for (std::size_t y = top; y < bottom; ++y)
                    std::memcpy(out + (x * height + y) * sizeof(Word),
                                in + (y * width + x) * sizeof(Word), sizeof(Word));
            }
        }
    }
}

}  // namespace

void transpose(const std::byte* in, std::size_t images, std::size_t height, std::size_t width,
               PixelType type, std::byte* out, unsigned threads) {
    const std::size_t image_bytes = height * width * pixel_bytes(type);
    const std::size_t parts = (height + kRows - 1) / kRows;
    const bool few = images * image_bytes < kFewBytes;
    visit_type(type, [&](auto pixel) {
        using Word = WordOf<decltype(pixel)>;
        parallel_for(images * parts, few ? 1 : threads, [&] {
            return [&](std::size_t unit, const std::atomic<bool>& /*stop*/) {
                const std::size_t at = unit / parts * image_bytes, first = unit % parts * kRows;
                const std::size_t last = std::min(first + kRows, height);
                transpose_rows<Word>(in + at, height, width, first, last, out + at);
            };
        });
    });
}

}  // namespace iosfast

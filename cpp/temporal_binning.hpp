// Mean of successive frames: of uint8 and uint16 rounded half away from zero to uint16, of other
// pixels not rounded to counts.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <variant>
#include <vector>

#include "frame_source.hpp"
#include "parallel_for.hpp"

namespace iosfast {

// A uint32 holds the sum of this many frames of uint16 at full scale, and not of one more. So many
// 32-bit integers have an exact sum in a double, too.
inline constexpr std::uint64_t kMaxFramesPerBin = 65537;

// What pixels of type T are summed in. Floats are added in the order of the frames, always.
template <class T>
using SumOf = std::conditional_t<std::is_unsigned_v<T> && sizeof(T) <= 2, std::uint32_t, double>;

// What their mean is kept in: a type that holds every single pixel value exactly.
template <class T>
using MeanOf = std::conditional_t<
    std::is_same_v<SumOf<T>, std::uint32_t>, std::uint16_t,
    std::conditional_t<std::is_same_v<T, float> || sizeof(T) == 2, float, double>>;

constexpr PixelType mean_type(PixelType type) {
    return visit_type(type, [](auto pixel) {
        using Mean = MeanOf<decltype(pixel)>;
        return std::is_same_v<Mean, std::uint16_t> ? PixelType::uint16
               : std::is_same_v<Mean, float>       ? PixelType::float32
                                                   : PixelType::float64;
    });
}

// Means of the frames [edges[b], edges[b + 1]) for every bin b, into `out` (bins x pixels of
// mean_type(source.type), aligned for it), with rows and columns exchanged if `transposed`. Poll is
// given the number of frames done. Throws std::invalid_argument if the edges do not increase, leave
// the source, or make a bin of more than kMaxFramesPerBin frames.
void bin_frames(const FrameSource& source, std::span<const std::int64_t> edges, void* out,
                bool transposed, unsigned threads, const Poll& poll);

// The same mean, one push at a time.
class BinAccumulator {
  public:
    // For frames whose mean is of this type.
    BinAccumulator(std::size_t height, std::size_t width, PixelType mean);
    // Adds frames [first, last) of the source. Throws std::invalid_argument if there are too many,
    // or their mean is of another type; if reading fails, all frames added so far are forgotten.
    void add(const FrameSource& source, std::size_t first, std::size_t last, unsigned threads);
    // Adds the frames of another one, which starts anew. Throws std::invalid_argument if it does
    // not fit, there are too many, or their sums depend on the order of frames, as those of floats
    // do.
    void merge(BinAccumulator& other);
    // Writes the mean of all frames added since the last call, with rows and columns exchanged if
    // `transposed`, and starts anew.
    void mean(void* out, bool transposed);
    std::uint64_t frames() const { return frames_; }

    const std::size_t height, width;
    const PixelType mean_type;

  private:
    void reset();

    std::uint64_t frames_ = 0;
    std::variant<std::vector<std::uint32_t>, std::vector<double>> sums_;
};

}  // namespace iosfast

// Scaling of a map to 256 colours, a piece at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace iosfast {

// 256 colours, and one for pixels outside the mask or without a value.
struct Colormap {
    std::array<std::array<std::uint8_t, 3>, 256> entries;
    std::array<std::uint8_t, 3> outside;
};

// How values become colour entries.
//   per_map: N = round((v - min) / (max - min) * 65535) over the whole map, entry
//            round(N / 65535 * 255); a map whose range is zero or infinite has N = 0 everywhere,
//            and so have pixels without a value (MATLAB's arithmetic).
//   fixed:   entry round((v - low) / (high - low) * 255), clamped; NaN has the outside colour.
struct ColorScale {
    bool per_map;
    double low, high;  // used if not per_map
};

// Least and greatest value, NaN left out.
class Extremes {
  public:
    Extremes();
    void add(const double* values, std::size_t n);
    double low() const;
    double high() const;

  private:
    static constexpr std::size_t kLanes = 8;  // independent, so that compilers use SIMD
    std::array<double, kLanes> low_, high_;
};

// Turns pieces of one map into pixels.
class Painter {
  public:
    static constexpr std::size_t kPiece = 1024;  // longest piece

    Painter(const Colormap& colormap, const ColorScale& scale);
    // For a scale per map: the extremes of the map that follows. Returns false if its scale is
    // undefined (a constant or infinite map).
    bool set_extremes(const Extremes& extremes);
    // `mask` is null or holds one byte per pixel, 0 outside. Unless it is the last of the map, a
    // piece writes one byte beyond its pixels, which the next one overwrites.
    void paint(const double* values, const std::uint8_t* mask, std::uint8_t* rgb, std::size_t n,
               bool last) const;

  private:
    std::array<std::array<std::uint8_t, 4>, 257> table_;
    bool per_map_, undefined_ = false;
    double low_, span_;
};

}  // namespace iosfast

// When a front arrives, from the first map that covers each pixel: planes fitted to the places and
// times at which it crosses from pixel to pixel.
#pragma once

#include <cstddef>
#include <cstdint>

namespace iosfast {

// What is fitted at every pixel, in this order.
enum ArrivalField : std::size_t {
    kArrivalTime,       // s
    kArrivalGradientX,  // s per pixel
    kArrivalGradientY,
    kArrivalExplained,  // part of the variance of time that the plane explains, 0 to 1
    kArrivalDistance,   // from the pixel to the middle of the crossings, in sigma
    kArrivalFields
};

// Widest window.
inline constexpr double kMaxArrivalSigma = 1000.0;

// `first` is (height, width): the number of a time, or negative where the front never comes. Two
// neighbours that are covered first by maps i < j are a crossing half-way between them, at the
// mean of the times of i and j - 1: the outline of what map i covers is where the front is then.
// Crossings weigh by a Gaussian. Writes (kArrivalFields, height, width), NaN without a plane.
void fit_arrival(const std::int32_t* first, std::size_t height, std::size_t width,
                 const double* times_s, std::size_t times, double sigma, double* out,
                 unsigned threads);

}  // namespace iosfast

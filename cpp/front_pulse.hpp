// The course of time of a pulse, as a polygon over equal steps from before its peak to after.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "front.hpp"

namespace iosfast {

inline double pulse_offset(std::size_t knot) {
    return kPulseFirst + kPulseStep * static_cast<double>(knot);
}

// Whether the course is learnt at an offset.
inline bool is_learnt(double offset, bool backwards) {
    return backwards ? offset <= kPulseLead : offset >= -kPulseLead;
}

// Course that is assumed before any is learnt.
inline double assumed_pulse(double offset) {
    return std::exp(-offset * offset);
}

inline std::vector<double> assumed_pulse() {
    std::vector<double> pulse(kPulseSize);
    for (std::size_t i = 0; i < kPulseSize; ++i) pulse[i] = assumed_pulse(pulse_offset(i));
    return pulse;
}

// Value at an offset from the peak; 0 outside.
inline double pulse_at(const std::vector<double>& pulse, double offset) {
    const double at = (offset - kPulseFirst) / kPulseStep;
    if (!(at >= 0.0) || at > static_cast<double>(kPulseSize - 1)) return 0.0;
    const auto knot = std::min(static_cast<std::size_t>(at), kPulseSize - 2);
    const double part = at - static_cast<double>(knot);
    return pulse[knot] + part * (pulse[knot + 1] - pulse[knot]);
}

// Offsets between which a pulse is above a part of its peak.
struct PulseWindow {
    double begin, end;
};

inline PulseWindow pulse_window(const std::vector<double>& pulse, double part) {
    const auto peak =
        static_cast<std::size_t>(std::max_element(pulse.begin(), pulse.end()) - pulse.begin());
    const double level = part * pulse[peak];
    const auto crossing = [&](std::size_t inner, std::size_t outer) {
        const double share = (pulse[inner] - level) / (pulse[inner] - pulse[outer]);
        return pulse_offset(inner) + share * (pulse_offset(outer) - pulse_offset(inner));
    };
    PulseWindow window{kPulseFirst, pulse_offset(kPulseSize - 1)};
    for (std::size_t i = peak; i > 0; --i) {
        if (pulse[i - 1] > level) continue;
        window.begin = crossing(i, i - 1);
        break;
    }
    for (std::size_t i = peak; i + 1 < kPulseSize; ++i) {
        if (pulse[i + 1] > level) continue;
        window.end = crossing(i, i + 1);
        break;
    }
    return window;
}

}  // namespace iosfast

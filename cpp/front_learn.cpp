#include <algorithm>
#include <array>
#include <limits>

#include "front_fit.hpp"
#include "front_pulse.hpp"

namespace iosfast {

namespace {

constexpr double kFaintest = 0.5;     // typical height, in standard deviations of the noise
constexpr double kPulsePrior = 10.0;  // cells of typical height that the assumed pulse counts as

}  // namespace

void FrontFitter::learn(FrontFit& fit, const OtherFits& others) const {
    const std::vector<float> rest = rest_of(fit, others);
    const std::vector<double> weight = weights(fit);
    FrontTrack& track = fit.track;
    fit.model.assign(in_.maps * count_, 0.0F);
    track.height.assign(count_, 0.0F);
    track.evidence = 0.0;
    for (std::size_t i = 0; i < count_; ++i)
        if (track.reached[i]) track.evidence += static_cast<double>(fit.won[i]);
    learn_heights(fit, rest, weight);
    if (fit.reached_cells() == 0) return;
    learn_pulse(track, rest, weight);
    for (std::size_t i = 0; i < count_; ++i) {
        if (!track.reached[i]) continue;
        for (std::size_t t = 0; t < in_.maps; ++t)
            fit.model[t * count_ + i] = static_cast<float>(
                track.direction * static_cast<double>(track.height[i]) *
                pulse_at(track.pulse, in_.times[t] - static_cast<double>(track.arrival[i])));
    }
}

// How well the course of the pulse fits a cell, whose changes count up to a limit.
FrontFitter::Match FrontFitter::match(const FrontTrack& track, const std::vector<float>& rest,
                                      const std::vector<double>& weight, std::size_t cell,
                                      float limit) const {
    Match match;
    for (std::size_t t = 0; t < in_.maps; ++t) {
        const double value =
            pulse_at(track.pulse, in_.times[t] - static_cast<double>(track.arrival[cell]));
        match.product += weight[t] * value *
                         static_cast<double>(std::clamp(rest[t * count_ + cell], -limit, limit));
        match.energy += weight[t] * value * value;
    }
    return match;
}

void FrontFitter::learn_heights(FrontFit& fit, const std::vector<float>& rest,
                                const std::vector<double>& weight) const {
    FrontTrack& track = fit.track;
    const auto believed = static_cast<float>(kClip * track.typical);
    std::vector<double> heights;
    for (std::size_t i = 0; i < count_; ++i) {
        if (!track.reached[i]) continue;
        const Match one = match(track, rest, weight, i, believed);
        if (one.energy > 0.0) heights.push_back(one.product / one.energy);
    }
    if (heights.empty()) return;
    track.typical = std::max(median_of(heights), kFaintest * median_of(noise_));
    const auto limit = static_cast<float>(kClip * track.typical);
    const double spread = 1.0 / (kHeightSpread * kHeightSpread * track.typical * track.typical);
    for (std::size_t i = 0; i < count_; ++i) {
        if (!track.reached[i]) continue;
        const Match one = match(track, rest, weight, i, limit);
        track.height[i] =
            static_cast<float>((one.product + track.typical * spread) / (one.energy + spread));
    }
}

// The course by linear regression on its knots, with the assumed one for a prior.
void FrontFitter::learn_pulse(FrontTrack& track, const std::vector<float>& rest,
                              const std::vector<double>& weight) const {
    const auto limit = static_cast<float>(kClip * track.typical);
    std::array<double, kPulseSize> product{}, energy{};
    for (std::size_t i = 0; i < count_; ++i) {
        if (!track.reached[i]) continue;
        const auto height = static_cast<double>(track.height[i]);
        for (std::size_t t = 0; t < in_.maps; ++t) {
            if (weight[t] == 0.0) continue;
            const double at =
                (in_.times[t] - static_cast<double>(track.arrival[i]) - kPulseFirst) / kPulseStep;
            if (at < 0.0 || at >= static_cast<double>(kPulseSize - 1)) continue;
            const auto knot = static_cast<std::size_t>(at);
            const double part = at - static_cast<double>(knot);
            const auto value = static_cast<double>(std::clamp(rest[t * count_ + i], -limit, limit));
            product[knot] += (1 - part) * weight[t] * value * height;
            product[knot + 1] += part * weight[t] * value * height;
            energy[knot] += (1 - part) * weight[t] * height * height;
            energy[knot + 1] += part * weight[t] * height * height;
        }
    }
    const double assumed = kPulsePrior * track.typical * track.typical * median_of(weight);
    for (std::size_t j = 0; j < kPulseSize; ++j) {
        const double offset = pulse_offset(j);
        track.pulse[j] = is_learnt(offset, in_.backwards)
                             ? (product[j] + assumed * assumed_pulse(offset)) /
                                   std::max(energy[j] + assumed, std::numeric_limits<double>::min())
                             : 0.0;
    }
    const double peak = *std::max_element(track.pulse.begin(), track.pulse.end());
    if (peak > 0.0)
        for (double& value : track.pulse) value /= peak;
    else
        track.pulse = assumed_pulse();
}

}  // namespace iosfast

#include "front_fit.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "front_labels.hpp"
#include "front_pulse.hpp"
#include "front_reach.hpp"
#include "parallel_for.hpp"

namespace iosfast {

namespace {

constexpr double kLabelStep = 0.5;    // maps between two arrival times that are told apart
constexpr double kLabelsBefore = 2;   // maps before the first hint at which a pulse may peak
constexpr double kLeastHeight = 1.5;  // assumed at first, in standard deviations of the noise
constexpr float kModelError = 0.2F;   // of what an object explains, not to be taken for another's
constexpr double kSelection = 2.0;    // log likelihood that a pulse must have beyond noise
constexpr float kForbidden = 1e6F, kTooEarly = 50.0F, kOutside = 50.0F;
constexpr LabelPrior kPrior{0.15F, 1.2F, 1.0F};
constexpr int kSweeps = 3;            // 6 outline no better
constexpr double kLeastNoise = 1e-3;  // assumed, as a part of the greatest change
constexpr double kBlankNoise = 1e3;   // assumed of a map without any change, in the same unit
constexpr double kNormal = 1.4826;    // standard deviation by median of sizes, of normal noise
constexpr double kGuess = 0.1;        // part by which a median may be off a guess of it
constexpr double kLeastWeight = 0.5;  // of the median noise, below which no map is trusted more

// The median, sought first among values near a guess; `near` is scratch memory.
double median_near(const std::vector<double>& values, double guess, std::vector<double>& near) {
    const double low = (1 - kGuess) * guess, high = (1 + kGuess) * guess;
    near.resize(values.size() + 1);
    std::size_t below = 0, found = 0;
    for (const double value : values) {
        near[found] = value;
        below += static_cast<std::size_t>(value < low);
        found += static_cast<std::size_t>((value >= low) & (value <= high));
    }
    const std::size_t middle = values.size() / 2;
    if (middle < below || middle >= below + found) return median_of(values);
    near.resize(found);
    const auto at = near.begin() + static_cast<std::ptrdiff_t>(middle - below);
    std::nth_element(near.begin(), at, near.end());
    return *at;
}

}  // namespace

double median_of(std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

std::size_t FrontFit::reached_cells() const {
    return static_cast<std::size_t>(std::count(track.reached.begin(), track.reached.end(), 1));
}

double FrontFitter::Labels::time(std::size_t label) const {
    return begin + kLabelStep * static_cast<double>(label);
}

FrontFitter::FrontFitter(const FrontCells& cells, unsigned threads)
    : in_(cells), count_(cells.rows * cells.columns), noise_(cells.maps) {
    float most = 0.0F;
    for (std::size_t i = 0; i < in_.maps * count_; ++i)
        most = std::max(most, std::abs(in_.change[i]));
    least_noise_ = std::max(kLeastNoise * static_cast<double>(most), 1e-12);
    blank_noise_ = std::max(kBlankNoise * static_cast<double>(most), 1e-12);
    update_noise({}, threads);
}

void FrontFitter::begin(FrontFit& fit, double direction, const OtherFits& others) const {
    fit.track.pulse = assumed_pulse();
    fit.track.direction = direction;
    fit.track.typical = height_at_hint(fit, others);
}

void FrontFitter::round(FrontFit& fit, const OtherFits& others, bool strict, unsigned threads) {
    const std::vector<float> rest = rest_of(fit, others);
    const Labels labels = labels_of(fit);
    const std::vector<float> gain = gains(fit, labels, rest, strict ? kSelection : 0.0, threads);
    read(fit, labels,
         believe(costs(fit, labels, gain), in_.rows, in_.columns, labels.count, kPrior, kSweeps,
                 threads),
         gain);
    learn(fit, others);
    OtherFits all = others;
    all.push_back(&fit);
    update_noise(all, threads);
}

double FrontFitter::unexplained(const OtherFits& fits, const std::vector<double>& noise) const {
    double sum = 0.0;
    for (std::size_t t = 0; t < in_.maps; ++t)
        for (std::size_t i = 0; i < count_; ++i) {
            if (!in_.inside[i]) continue;
            auto rest = static_cast<double>(in_.change[t * count_ + i]);
            for (const FrontFit* fit : fits)
                if (!fit->model.empty()) rest -= static_cast<double>(fit->model[t * count_ + i]);
            sum += std::log1p(rest * rest / (noise[t] * noise[t]));
        }
    return sum;
}

// Maps without what the others explain, in the direction of the object. What is left of an
// explained change counts only as far as it is more than the error of the explanation.
std::vector<float> FrontFitter::rest_of(const FrontFit& fit, const OtherFits& others) const {
    std::vector<float> rest(in_.change, in_.change + in_.maps * count_);
    std::vector<float> doubt(others.empty() ? 0 : rest.size(), 0.0F);
    for (const FrontFit* other : others)
        for (std::size_t i = 0; i < other->model.size(); ++i) {
            rest[i] -= other->model[i];
            doubt[i] += kModelError * std::abs(other->model[i]);
        }
    for (std::size_t i = 0; i < doubt.size(); ++i)
        rest[i] = std::copysign(std::max(0.0F, std::abs(rest[i]) - doubt[i]), rest[i]);
    if (fit.track.direction < 0)
        for (float& value : rest) value = -value;
    return rest;
}

double FrontFitter::height_at_hint(const FrontFit& fit, const OtherFits& others) const {
    const std::vector<float> rest = rest_of(fit, others);
    const FrontHint& hint = fit.hints->front();
    std::size_t marked = 0;
    for (std::size_t i = 0; i < count_; ++i) marked += hint.cells[i] == Said::wave;
    const std::ptrdiff_t margin = marked < 4 ? 2 : 0;
    const auto rows = static_cast<std::ptrdiff_t>(in_.rows);
    const auto columns = static_cast<std::ptrdiff_t>(in_.columns);
    std::vector<double> values;
    for (std::ptrdiff_t y = 0; y < rows; ++y)
        for (std::ptrdiff_t x = 0; x < columns; ++x) {
            bool wanted = false;
            for (auto v = std::max<std::ptrdiff_t>(0, y - margin);
                 v <= std::min(rows - 1, y + margin) && !wanted; ++v)
                for (auto u = std::max<std::ptrdiff_t>(0, x - margin);
                     u <= std::min(columns - 1, x + margin) && !wanted; ++u)
                    wanted = hint.cells[static_cast<std::size_t>(v * columns + u)] == Said::wave;
            if (wanted)
                values.push_back(static_cast<double>(
                    rest[hint.map * count_ + static_cast<std::size_t>(y * columns + x)]));
        }
    std::sort(values.begin(), values.end(), std::greater<>());
    values.resize(std::min(values.size(), std::max<std::size_t>(4, values.size() / 4)));
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) /
                        static_cast<double>(std::max<std::size_t>(1, values.size()));
    return std::max(mean, kLeastHeight * noise_[hint.map]);
}

std::vector<double> FrontFitter::weights(const FrontFit& fit) const {
    const double least = kLeastWeight * median_of(noise_);
    const double begin = labels_of(fit).begin;
    std::vector<double> weight(in_.maps);
    for (std::size_t t = 0; t < in_.maps; ++t) {
        const double sd = std::max(noise_[t], least);
        weight[t] = in_.times[t] < begin ? 0.0 : 1.0 / (sd * sd);
    }
    return weight;
}

void FrontFitter::update_noise(const OtherFits& fits, unsigned threads) {
    parallel_for(in_.maps, threads, [&] {
        return [&, rest = std::vector<double>(), near = std::vector<double>()](
                   std::size_t t, const std::atomic<bool>&) mutable {
            const float* map = in_.change + t * count_;
            if (std::all_of(map, map + count_, [](float value) { return value == 0.0F; })) {
                noise_[t] = blank_noise_;
                return;
            }
            rest.clear();
            for (std::size_t i = 0; i < count_; ++i) {
                if (!in_.inside[i]) continue;
                auto value = static_cast<double>(map[i]);
                for (const FrontFit* fit : fits)
                    if (!fit->model.empty())
                        value -= static_cast<double>(fit->model[t * count_ + i]);
                rest.push_back(std::abs(value));
            }
            const double median = median_near(rest, noise_[t] / kNormal, near);
            noise_[t] = std::max(kNormal * median, least_noise_);
        };
    });
}

FrontFitter::Labels FrontFitter::labels_of(const FrontFit& fit) const {
    const double begin = in_.times[fit.hints->front().map] - kLabelsBefore;
    const double last = in_.times[in_.maps - 1] + kLabelStep;
    return {begin, static_cast<std::size_t>(std::floor((last - begin) / kLabelStep)) + 1};
}

// Evidence of a pulse at each cell and time: the log likelihood ratio of a pulse of unknown height
// against noise is that of Bayesian linear regression, (match + prior)^2 scale - offset, of which
// only the match is a cell's.
std::vector<float> FrontFitter::gains(const FrontFit& fit, const Labels& labels,
                                      const std::vector<float>& rest, double selection,
                                      unsigned threads) const {
    const std::vector<double> weight = weights(fit);
    const double height = fit.track.typical;
    const double spread = 1.0 / (kHeightSpread * kHeightSpread * height * height);
    std::vector<float> course(in_.maps * labels.count), scale(labels.count), offset(labels.count);
    for (std::size_t k = 0; k < labels.count; ++k) {
        double energy = 0.0;
        for (std::size_t t = 0; t < in_.maps; ++t) {
            const double value = pulse_at(fit.track.pulse, in_.times[t] - labels.time(k));
            course[t * labels.count + k] = static_cast<float>(value * weight[t]);
            energy += value * value * weight[t];
        }
        const double precision = energy + spread;
        scale[k] = static_cast<float>(in_.independence / (2 * precision));
        offset[k] = static_cast<float>(
            in_.independence *
            ((height * height * spread + std::log(precision / spread)) / 2 + selection));
    }
    std::vector<std::size_t> from(in_.maps, labels.count), to(in_.maps, 0);  // not 0 in each map
    for (std::size_t t = 0; t < in_.maps; ++t)
        for (std::size_t k = 0; k < labels.count; ++k) {
            if (course[t * labels.count + k] == 0.0F) continue;
            from[t] = std::min(from[t], k);
            to[t] = k + 1;
        }
    const auto limit = static_cast<float>(kClip * height);
    const auto expected = static_cast<float>(height * spread);
    std::vector<float> gain(count_ * labels.count);
    parallel_for(in_.rows, threads, [&] {
        return [&, match = std::vector<float>(labels.count)](std::size_t row,
                                                             const std::atomic<bool>&) mutable {
            for (std::size_t i = row * in_.columns; i < (row + 1) * in_.columns; ++i) {
                std::fill(match.begin(), match.end(), expected);
                for (std::size_t t = 0; t < in_.maps; ++t) {
                    if (weight[t] == 0.0) continue;
                    const float value = std::clamp(rest[t * count_ + i], -limit, limit);
                    const float* of_map = course.data() + t * labels.count;
                    for (std::size_t k = from[t]; k < to[t]; ++k) match[k] += of_map[k] * value;
                }
                for (std::size_t k = 0; k < labels.count; ++k)
                    gain[i * labels.count + k] = match[k] * match[k] * scale[k] - offset[k];
            }
        };
    });
    return gain;
}

// Cost of each label, and of none, from the evidence, what a front can reach, and the hints.
std::vector<float> FrontFitter::costs(const FrontFit& fit, const Labels& labels,
                                      const std::vector<float>& gain) const {
    std::vector<float> cost(count_ * (labels.count + 1), 0.0F);
    for (std::size_t i = 0; i < count_; ++i) {
        float* at = cost.data() + i * (labels.count + 1);
        for (std::size_t k = 0; k < labels.count; ++k) {
            at[k] = -gain[i * labels.count + k];
            if (!in_.inside[i]) at[k] += kOutside;
            if (fit.earliest.empty()) continue;
            if (labels.time(k) < fit.earliest[i] - kReachSlack) at[k] += kTooEarly;
            if (fit.latest[i] > labels.begin && labels.time(k) > fit.latest[i] + kReachSlack)
                at[k] += kTooEarly;
        }
    }
    const PulseWindow window = pulse_window(fit.track.pulse, 0.5);
    for (const FrontHint& hint : *fit.hints)
        for (std::size_t i = 0; i < count_; ++i) {
            if (hint.cells[i] == Said::nothing) continue;
            float* at = cost.data() + i * (labels.count + 1);
            const bool wave = hint.cells[i] == Said::wave;
            if (wave) at[labels.count] += kForbidden;
            for (std::size_t k = 0; k < labels.count; ++k) {
                const double since = in_.times[hint.map] - labels.time(k);
                const bool active = since > window.begin - 0.25 && since < window.end + 0.25;
                if (active != wave) at[k] += kForbidden;
            }
        }
    return cost;
}

// Arrivals by their beliefs, between two labels where these bend, and those that a front reaches.
void FrontFitter::read(FrontFit& fit, const Labels& labels, const std::vector<float>& belief,
                       const std::vector<float>& gain) const {
    FrontTrack& track = fit.track;
    const std::vector<FrontHint>& hints = *fit.hints;
    track.arrival.resize(count_);
    fit.won.resize(count_);
    std::vector<std::uint8_t> labelled(count_, 0);
    for (std::size_t i = 0; i < count_; ++i) {
        const float* at = belief.data() + i * (labels.count + 1);
        const auto best = static_cast<std::size_t>(std::min_element(at, at + labels.count) - at);
        double between = 0.0;
        if (best > 0 && best + 1 < labels.count) {
            const double before = at[best - 1], here = at[best], after = at[best + 1];
            const double bend = before - 2 * here + after;
            if (bend > 1e-9) between = std::clamp((before - after) / (2 * bend), -0.5, 0.5);
        }
        track.arrival[i] = static_cast<float>(labels.time(best) + kLabelStep * between);
        fit.won[i] = gain[i * labels.count + best];
        labelled[i] = at[best] < at[labels.count] && fit.won[i] > -kLeastGain;
    }
    for (const FrontHint& hint : hints)
        for (std::size_t i = 0; i < count_; ++i)
            if (hint.cells[i] == Said::wave) labelled[i] = 1;
    const double lead = pulse_window(track.pulse, 0.5).begin;
    Reach reach(in_, hints, track.arrival, labelled, fit.won, lead, noise_);
    track.reached = reach.accept();
    fit.earliest = reach.earliest();
    fit.latest = reach.latest();
}

}  // namespace iosfast

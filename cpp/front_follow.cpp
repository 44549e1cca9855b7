#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "front.hpp"
#include "front_labels.hpp"
#include "front_pulse.hpp"
#include "front_reach.hpp"

namespace iosfast {

namespace {

constexpr double kLabelStep = 0.5;      // maps between two arrival times that are told apart
constexpr double kLabelsBefore = 2;     // maps before the first hint at which a pulse may peak
constexpr double kHeightSpread = 0.35;  // of pulses, as a part of the typical height
constexpr double kLeastHeight = 1.5;    // assumed at first, in standard deviations of the noise
constexpr double kFaintest = 0.5;       // typical height, in standard deviations of the noise
constexpr double kClip = 2.0;           // changes count up to so many typical heights
constexpr double kSelection = 2.0;      // log likelihood that a pulse must have beyond noise
constexpr float kForbidden = 1e6F, kTooEarly = 50.0F, kOutside = 50.0F;
constexpr LabelPrior kPrior{0.15F, 1.2F, 1.0F};
constexpr int kSweeps = 6;
constexpr int kTrialRounds = 2, kRounds = 4, kJointRounds = 2;
constexpr int kGrowingRounds = 20;    // at most, while a round adds more than
constexpr std::size_t kGrowing = 20;  // one in so many cells
constexpr double kPulsePrior = 10.0;  // cells of typical height that the assumed pulse counts as
constexpr double kLeadingDip = 0.7;   // part of the peak; deeper before it, and the sign is wrong
constexpr double kRefused = 1e6;      // evidence taken off for that
constexpr double kLeastNoise = 1e-3;  // assumed, as a part of the greatest change
constexpr double kBlankNoise = 1e3;   // assumed of a map without any change, in the same unit
constexpr double kLeastWeight = 0.5;  // of the median noise, below which no map is trusted more

double median_of(std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

struct Object {
    const std::vector<FrontHint>* hints = nullptr;
    FrontTrack track;
    // Times before and after which a front cannot be there, per cell; of cells that it cannot have
    // reached, infinity and minus infinity.
    std::vector<double> earliest, latest;
    std::vector<float> model;  // (maps, cells): what it explains, with its sign
    bool known_earliest = false;
};

class Follower {
  public:
    explicit Follower(const FrontCells& cells)
        : in_(cells), count_(cells.rows * cells.columns), noise_(cells.maps) {
        float most = 0.0F;
        for (std::size_t i = 0; i < in_.maps * count_; ++i)
            most = std::max(most, std::abs(in_.change[i]));
        least_noise_ = std::max(kLeastNoise * static_cast<double>(most), 1e-12);
        blank_noise_ = std::max(kBlankNoise * static_cast<double>(most), 1e-12);
        update_noise({});
    }

    // Follow an object on what the others leave. Both signs are tried: where a wave brightens, what
    // follows it darkens, and the other way round; but it begins with a pulse, not with a dip.
    void start(Object& object, const std::vector<const Object*>& others, int rounds,
               unsigned threads, const Poll& poll) {
        struct Trial {
            Object object;
            std::vector<double> noise;
            double evidence = 0;
        };
        std::array<Trial, 2> trials;
        parallel_for(
            trials.size(), threads,
            [&] {
                return [&](std::size_t number, const std::atomic<bool>&) {
                    Follower follower = *this;
                    Trial& trial = trials.at(number);
                    FrontTrack& track = trial.object.track;
                    trial.object.hints = object.hints;
                    track.pulse = assumed_pulse();
                    track.direction = number == 0 ? 1.0 : -1.0;
                    track.typical = height_at_hint(trial.object, others);
                    follower.refine(trial.object, others, 0, kTrialRounds);
                    double dip = 0.0;
                    for (std::size_t i = 0; i < kPulseSize; ++i)
                        if (in_.backwards ? pulse_offset(i) > 0.0 : pulse_offset(i) < 0.0)
                            dip = std::max(dip, -track.pulse[i]);
                    trial.evidence = track.evidence - (dip < kLeadingDip ? 0.0 : kRefused);
                    trial.noise = follower.noise_;
                };
            },
            poll);
        Trial& best = trials.at(trials[1].evidence > trials[0].evidence);
        object = std::move(best.object);
        noise_ = std::move(best.noise);
        refine(object, others, kTrialRounds, rounds - kTrialRounds, poll);
        // Where another pulse comes later, and as high, the region grows by a reach in each round.
        for (int round = 0; rounds >= kRounds && round < kGrowingRounds; ++round) {
            const auto before = reached_cells(object);
            refine(object, others, kRounds, 1, poll);
            if (reached_cells(object) <= before + before / kGrowing) break;
        }
    }

    static std::size_t reached_cells(const Object& object) {
        const auto& reached = object.track.reached;
        return static_cast<std::size_t>(std::count(reached.begin(), reached.end(), 1));
    }

    // Some rounds of: most probable arrival times; which of them a front can reach; the pulse.
    void refine(Object& object, const std::vector<const Object*>& others, int first, int rounds,
                const Poll& poll = {}) {
        for (int round = first; round < first + rounds; ++round) {
            const bool strict = round >= kTrialRounds;
            label(object, rest_of(object, others), strict ? kSelection : 0.0);
            std::vector<const Object*> all = others;
            all.push_back(&object);
            update_noise(all);
            if (poll) poll(0);
        }
    }

    const std::vector<double>& noise() const { return noise_; }

  private:
    // Maps without what the others explain, in the direction of the object.
    std::vector<float> rest_of(const Object& object, const std::vector<const Object*>& others) {
        std::vector<float> rest(in_.change, in_.change + in_.maps * count_);
        for (const Object* other : others)
            for (std::size_t i = 0; i < other->model.size(); ++i) rest[i] -= other->model[i];
        if (object.track.direction < 0)
            for (float& value : rest) value = -value;
        return rest;
    }

    double height_at_hint(const Object& object, const std::vector<const Object*>& others) {
        const std::vector<float> rest = rest_of(object, others);
        const FrontHint& hint = object.hints->front();
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
                        wanted =
                            hint.cells[static_cast<std::size_t>(v * columns + u)] == Said::wave;
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

    std::vector<double> weights(const Object& object) const {
        const double least = kLeastWeight * median_of(noise_);
        const double begin = in_.times[object.hints->front().map] - kLabelsBefore;
        std::vector<double> weight(in_.maps);
        for (std::size_t t = 0; t < in_.maps; ++t) {
            const double sd = std::max(noise_[t], least);
            weight[t] = in_.times[t] < begin ? 0.0 : 1.0 / (sd * sd);
        }
        return weight;
    }

    void update_noise(const std::vector<const Object*>& objects) {
        std::vector<double> rest;
        for (std::size_t t = 0; t < in_.maps; ++t) {
            const float* map = in_.change + t * count_;
            if (std::all_of(map, map + count_, [](float value) { return value == 0.0F; })) {
                noise_[t] = blank_noise_;
                continue;
            }
            rest.clear();
            for (std::size_t i = 0; i < count_; ++i) {
                if (!in_.inside[i]) continue;
                auto value = static_cast<double>(in_.change[t * count_ + i]);
                for (const Object* object : objects)
                    if (!object->model.empty())
                        value -= static_cast<double>(object->model[t * count_ + i]);
                rest.push_back(std::abs(value));
            }
            noise_[t] = std::max(1.4826 * median_of(rest), least_noise_);
        }
    }

    void label(Object& object, const std::vector<float>& rest, double selection) {
        FrontTrack& track = object.track;
        const std::vector<FrontHint>& hints = *object.hints;
        const double begin = in_.times[hints.front().map] - kLabelsBefore;
        const double last = in_.times[in_.maps - 1] + kLabelStep;
        const auto labels = static_cast<std::size_t>(std::floor((last - begin) / kLabelStep)) + 1;
        const std::vector<double> weight = weights(object);
        const PulseWindow window = pulse_window(track.pulse, 0.5);

        // Pulse of each label in each map; sums over maps that do not depend on the cell.
        // The log likelihood ratio of a pulse of unknown height against noise is that of Bayesian
        // linear regression: (match + prior)^2 scale - offset, of which only the match is a cell's.
        const double height = track.typical;
        const double spread = 1.0 / (kHeightSpread * kHeightSpread * height * height);
        std::vector<float> course(in_.maps * labels), scale(labels), offset(labels);
        for (std::size_t k = 0; k < labels; ++k) {
            double energy = 0.0;
            for (std::size_t t = 0; t < in_.maps; ++t) {
                const double value = pulse_at(
                    track.pulse, in_.times[t] - begin - kLabelStep * static_cast<double>(k));
                course[t * labels + k] = static_cast<float>(value * weight[t]);
                energy += value * value * weight[t];
            }
            const double precision = energy + spread;
            scale[k] = static_cast<float>(in_.independence / (2 * precision));
            offset[k] = static_cast<float>(
                in_.independence *
                ((height * height * spread + std::log(precision / spread)) / 2 + selection));
        }
        std::vector<std::size_t> from(in_.maps, labels), to(in_.maps, 0);  // not 0 in each map
        for (std::size_t t = 0; t < in_.maps; ++t)
            for (std::size_t k = 0; k < labels; ++k) {
                if (course[t * labels + k] == 0.0F) continue;
                from[t] = std::min(from[t], k);
                to[t] = k + 1;
            }
        const auto limit = static_cast<float>(kClip * height);
        const auto expected = static_cast<float>(height * spread);

        std::vector<float> gain(count_ * labels), cost(count_ * (labels + 1), 0.0F);
        std::vector<float> match(labels);
        for (std::size_t i = 0; i < count_; ++i) {
            std::fill(match.begin(), match.end(), expected);
            for (std::size_t t = 0; t < in_.maps; ++t) {
                if (weight[t] == 0.0) continue;
                const float value = std::clamp(rest[t * count_ + i], -limit, limit);
                const float* of_map = course.data() + t * labels;
                for (std::size_t k = from[t]; k < to[t]; ++k) match[k] += of_map[k] * value;
            }
            for (std::size_t k = 0; k < labels; ++k)
                gain[i * labels + k] = match[k] * match[k] * scale[k] - offset[k];
            float* at = cost.data() + i * (labels + 1);
            for (std::size_t k = 0; k < labels; ++k) {
                at[k] = -gain[i * labels + k];
                if (!in_.inside[i]) at[k] += kOutside;
                if (object.known_earliest &&
                    begin + kLabelStep * static_cast<double>(k) < object.earliest[i] - kReachSlack)
                    at[k] += kTooEarly;
                if (object.known_earliest && object.latest[i] > begin &&
                    begin + kLabelStep * static_cast<double>(k) > object.latest[i] + kReachSlack)
                    at[k] += kTooEarly;
            }
        }
        for (const FrontHint& hint : hints)
            for (std::size_t i = 0; i < count_; ++i) {
                if (hint.cells[i] == Said::nothing) continue;
                float* at = cost.data() + i * (labels + 1);
                const bool wave = hint.cells[i] == Said::wave;
                if (wave) at[labels] += kForbidden;
                for (std::size_t k = 0; k < labels; ++k) {
                    const double since =
                        in_.times[hint.map] - begin - kLabelStep * static_cast<double>(k);
                    const bool active = since > window.begin - 0.25 && since < window.end + 0.25;
                    if (active != wave) at[k] += kForbidden;
                }
            }

        const std::vector<float> belief =
            believe(cost, in_.rows, in_.columns, labels, kPrior, kSweeps);
        track.arrival.resize(count_);
        track.height.assign(count_, 0.0F);
        std::vector<std::uint8_t> labelled(count_, 0);
        std::vector<float> won(count_);
        for (std::size_t i = 0; i < count_; ++i) {
            const float* at = belief.data() + i * (labels + 1);
            const auto best = static_cast<std::size_t>(std::min_element(at, at + labels) - at);
            double between = 0.0;
            if (best > 0 && best + 1 < labels) {
                const double before = at[best - 1], here = at[best], after = at[best + 1];
                const double bend = before - 2 * here + after;
                if (bend > 1e-9) between = std::clamp((before - after) / (2 * bend), -0.5, 0.5);
            }
            track.arrival[i] =
                static_cast<float>(begin + kLabelStep * (static_cast<double>(best) + between));
            won[i] = gain[i * labels + best];
            labelled[i] = at[best] < at[labels] && won[i] > -kLeastGain;
        }
        for (const FrontHint& hint : hints)
            for (std::size_t i = 0; i < count_; ++i)
                if (hint.cells[i] == Said::wave) labelled[i] = 1;
        Reach reach(in_, hints, track.arrival, labelled, won, window.begin, noise_);
        track.reached = reach.accept();
        object.earliest = reach.earliest();
        object.latest = reach.latest();
        object.known_earliest = true;
        learn(object, rest, weight, won);
    }

    struct Fit {
        double match = 0, energy = 0;
    };

    // How well the course of the pulse fits a cell, whose changes count up to a limit.
    Fit fit_height(const FrontTrack& track, const std::vector<float>& rest,
                   const std::vector<double>& weight, std::size_t i, float limit) const {
        Fit fit;
        for (std::size_t t = 0; t < in_.maps; ++t) {
            const double value =
                pulse_at(track.pulse, in_.times[t] - static_cast<double>(track.arrival[i]));
            fit.match += weight[t] * value *
                         static_cast<double>(std::clamp(rest[t * count_ + i], -limit, limit));
            fit.energy += weight[t] * value * value;
        }
        return fit;
    }

    // Height and course of the pulses of the cells that are reached, and what they explain.
    void learn(Object& object, const std::vector<float>& rest, const std::vector<double>& weight,
               const std::vector<float>& won) {
        FrontTrack& track = object.track;
        const auto believed = static_cast<float>(kClip * track.typical);
        track.evidence = 0.0;
        std::vector<double> heights;
        for (std::size_t i = 0; i < count_; ++i) {
            if (!track.reached[i]) continue;
            track.evidence += static_cast<double>(won[i]);
            const Fit fit = fit_height(track, rest, weight, i, believed);
            if (fit.energy > 0.0) heights.push_back(fit.match / fit.energy);
        }
        object.model.assign(in_.maps * count_, 0.0F);
        if (heights.empty()) return;
        track.typical = std::max(median_of(heights), kFaintest * median_of(noise_));
        const auto limit = static_cast<float>(kClip * track.typical);
        const double spread = 1.0 / (kHeightSpread * kHeightSpread * track.typical * track.typical);
        for (std::size_t i = 0; i < count_; ++i) {
            if (!track.reached[i]) continue;
            const Fit fit = fit_height(track, rest, weight, i, limit);
            track.height[i] =
                static_cast<float>((fit.match + track.typical * spread) / (fit.energy + spread));
        }
        std::array<double, kPulseSize> match{}, energy{};
        for (std::size_t i = 0; i < count_; ++i) {
            if (!track.reached[i]) continue;
            const auto height = static_cast<double>(track.height[i]);
            for (std::size_t t = 0; t < in_.maps; ++t) {
                if (weight[t] == 0.0) continue;
                const double at =
                    (in_.times[t] - static_cast<double>(track.arrival[i]) - kPulseFirst) /
                    kPulseStep;
                if (at < 0.0 || at >= static_cast<double>(kPulseSize - 1)) continue;
                const auto knot = static_cast<std::size_t>(at);
                const double part = at - static_cast<double>(knot);
                const auto value =
                    static_cast<double>(std::clamp(rest[t * count_ + i], -limit, limit));
                match[knot] += (1 - part) * weight[t] * value * height;
                match[knot + 1] += part * weight[t] * value * height;
                energy[knot] += (1 - part) * weight[t] * height * height;
                energy[knot + 1] += part * weight[t] * height * height;
            }
        }
        const double assumed = kPulsePrior * track.typical * track.typical * median_of(weight);
        for (std::size_t j = 0; j < kPulseSize; ++j) {
            const double offset = pulse_offset(j);
            track.pulse[j] =
                is_learnt(offset, in_.backwards)
                    ? (match[j] + assumed * assumed_pulse(offset)) /
                          std::max(energy[j] + assumed, std::numeric_limits<double>::min())
                    : 0.0;
        }
        const double peak = *std::max_element(track.pulse.begin(), track.pulse.end());
        if (peak > 0.0)
            for (double& value : track.pulse) value /= peak;
        else
            track.pulse = assumed_pulse();
        for (std::size_t i = 0; i < count_; ++i) {
            if (!track.reached[i]) continue;
            for (std::size_t t = 0; t < in_.maps; ++t)
                object.model[t * count_ + i] = static_cast<float>(
                    track.direction * static_cast<double>(track.height[i]) *
                    pulse_at(track.pulse, in_.times[t] - static_cast<double>(track.arrival[i])));
        }
    }

    const FrontCells& in_;
    std::size_t count_;
    std::vector<double> noise_;
    double least_noise_ = 0, blank_noise_ = 0;
};

}  // namespace

std::vector<FrontTrack> follow_fronts(const FrontCells& cells,
                                      const std::vector<std::vector<FrontHint>>& objects,
                                      std::span<double> noise, unsigned threads, const Poll& poll) {
    Follower follower(cells);
    std::vector<Object> found(objects.size());
    for (std::size_t o = 0; o < objects.size(); ++o) found[o].hints = &objects[o];
    std::vector<std::size_t> open(objects.size());
    std::iota(open.begin(), open.end(), std::size_t{0});
    std::vector<const Object*> done;
    // The object that is told most clearly first; then the others, on what it leaves.
    while (!open.empty()) {
        std::size_t next = open.front();
        if (open.size() > 1) {
            std::vector<double> evidence(open.size());
            parallel_for(
                open.size(), threads,
                [&] {
                    return [&](std::size_t i, const std::atomic<bool>&) {
                        Follower alone = follower;
                        Object trial = found[open[i]];
                        alone.start(trial, done, kTrialRounds, 1, {});
                        evidence[i] = trial.track.evidence;
                    };
                },
                poll);
            next = open[static_cast<std::size_t>(
                std::max_element(evidence.begin(), evidence.end()) - evidence.begin())];
        }
        follower.start(found[next], done, kRounds, threads, poll);
        done.push_back(&found[next]);
        std::erase(open, next);
    }
    if (done.size() > 1)
        for (int round = 0; round < kJointRounds; ++round)
            for (std::size_t o = 0; o < done.size(); ++o) {
                std::vector<const Object*> others = done;
                others.erase(others.begin() + static_cast<std::ptrdiff_t>(o));
                const auto index = static_cast<std::size_t>(done[o] - found.data());
                follower.refine(found[index], others, kRounds, 1, poll);
            }
    std::copy(follower.noise().begin(), follower.noise().end(), noise.begin());
    std::vector<FrontTrack> tracks;
    tracks.reserve(found.size());
    for (Object& object : found) tracks.push_back(std::move(object.track));
    return tracks;
}

}  // namespace iosfast

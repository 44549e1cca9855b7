#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "front.hpp"
#include "front_pulse.hpp"

namespace iosfast {

namespace {

constexpr double kAlike = 2.5;        // maps between arrivals that are one front, not two
constexpr double kOutlinePart = 0.5;  // of a map's extreme, where the outline is
constexpr double kModelError = 0.15;  // of the model, as a part of its peak
constexpr double kSeen = 4.0;         // maps about its arrival in which a pixel may be in the mask
constexpr double kFaintest = 0.1;     // part of the typical height, below which a wave has left;
constexpr double kFaintestUnseen = 0.3;  // more, where the map itself tells nothing
constexpr double kPeakShare = 0.98;      // quantile of the wave's pixels that counts as the peak
constexpr float kRipe = 0.85F;           // part of the pulse's highest that counts as high,
constexpr double kHighShare = 0.7;       // and the quantile of these pixels' heights
constexpr float kBelowHighest = 0.97F;   // a peak between two pixels or maps
constexpr double kSlot = 0.5;            // maps of arrivals that are kept together
constexpr float kNever = std::numeric_limits<float>::quiet_NaN();

// Arrival and height at every pixel.
struct Fields {
    std::vector<float> arrival, height;  // NaN and 0 where the object never is
    std::vector<std::size_t> passed;     // pixels where it is, by the slot of their arrival
    std::vector<std::size_t> slots;      // where each slot begins, and the last one ends
    double earliest = 0;                 // arrival with which the first slot begins
    std::vector<double> lobe;            // the pulse without what comes before and after its peak
    double begin = 0, end = 0;           // offsets between which it is above 0
    double typical = 0;

    // The slot of a time, or the first or last one if that is before or after all.
    std::size_t slot_of(double time) const {
        const auto last = static_cast<double>(slots.size() - 2);
        return static_cast<std::size_t>(std::clamp((time - earliest) / kSlot, 0.0, last));
    }
};

// Between the centres of cells: the lower one and the part of the way to the next.
struct Between {
    std::size_t cell;
    float part;
};

std::vector<Between> between(std::size_t pixels, std::size_t side, std::size_t cells) {
    std::vector<Between> places(pixels);
    for (std::size_t i = 0; i < pixels; ++i) {
        const double at = (static_cast<double>(i) + 0.5) / static_cast<double>(side) - 0.5;
        const double low =
            std::clamp(std::floor(at), 0.0, static_cast<double>(cells > 1 ? cells - 2 : 0));
        places[i] = {static_cast<std::size_t>(low),
                     static_cast<float>(cells > 1 ? std::clamp(at - low, 0.0, 1.0) : 0.0)};
    }
    return places;
}

// Arrival and height of cells, smoothed over neighbours of the same front.
void smooth(const FrontTrack& track, std::size_t rows, std::size_t columns,
            std::vector<float>& arrival, std::vector<float>& height) {
    for (std::size_t y = 0; y < rows; ++y)
        for (std::size_t x = 0; x < columns; ++x) {
            const std::size_t i = y * columns + x;
            if (!track.reached[i]) continue;
            double sum = 0, times = 0, heights = 0;
            for (std::size_t v = y - (y > 0); v <= std::min(y + 1, rows - 1); ++v)
                for (std::size_t u = x - (x > 0); u <= std::min(x + 1, columns - 1); ++u) {
                    const std::size_t j = v * columns + u;
                    const auto apart = static_cast<double>(track.arrival[j] - track.arrival[i]);
                    if (!track.reached[j] || std::abs(apart) >= kAlike) continue;
                    const auto steps = static_cast<double>((v != y) + (u != x));
                    const double weight = std::exp(-steps / (2 * 0.7 * 0.7));
                    sum += weight;
                    times += weight * static_cast<double>(track.arrival[j]);
                    heights += weight * static_cast<double>(track.height[j]);
                }
            arrival[i] = static_cast<float>(times / sum);
            height[i] = static_cast<float>(heights / sum);
        }
}

// Order the pixels that the object passes by when it arrives there, as these cells tell.
void order(const std::vector<float>& cells, Fields& fields) {
    float earliest = std::numeric_limits<float>::infinity(), latest = -earliest;
    for (const float arrival : cells) {  // NaN is neither
        earliest = arrival < earliest ? arrival : earliest;
        latest = arrival > latest ? arrival : latest;
    }
    fields.slots.assign(2, 0);
    if (latest < earliest) return;
    fields.earliest = static_cast<double>(earliest);
    fields.slots.resize(
        static_cast<std::size_t>((static_cast<double>(latest) - fields.earliest) / kSlot) + 2);
    std::vector<std::size_t>& slots = fields.slots;
    for (const float arrival : fields.arrival)
        if (!std::isnan(arrival)) ++slots[fields.slot_of(static_cast<double>(arrival)) + 1];
    std::partial_sum(slots.begin(), slots.end(), slots.begin());
    fields.passed.resize(slots.back());
    std::vector<std::size_t> next = slots;
    for (std::size_t i = 0; i < fields.arrival.size(); ++i)
        if (!std::isnan(fields.arrival[i]))
            fields.passed[next[fields.slot_of(static_cast<double>(fields.arrival[i]))]++] = i;
}

Fields fields_of(const FrontTrack& track, const FrontMaps& maps, unsigned threads) {
    const std::size_t rows = (maps.height + maps.side - 1) / maps.side;
    const std::size_t columns = (maps.width + maps.side - 1) / maps.side;
    std::vector<float> arrival(rows * columns, kNever), height(rows * columns, 0.0F);
    smooth(track, rows, columns, arrival, height);
    Fields fields;
    fields.arrival.assign(maps.height * maps.width, kNever);
    fields.height.assign(maps.height * maps.width, 0.0F);
    const std::vector<Between> down = between(maps.height, maps.side, rows);
    const std::vector<Between> across = between(maps.width, maps.side, columns);
    const auto fill_row = [&](std::size_t y, const std::atomic<bool>&) {
        for (std::size_t x = 0; x < maps.width; ++x) {
            const std::size_t v = down[y].cell, u = across[x].cell;
            const float low = down[y].part, right = across[x].part;
            const std::size_t below = v + (rows > 1), beside = u + (columns > 1);
            const std::array<std::size_t, 4> cells{v * columns + u, v * columns + beside,
                                                   below * columns + u, below * columns + beside};
            const std::array<float, 4> weights{(1 - low) * (1 - right), (1 - low) * right,
                                               low * (1 - right), low * right};
            std::size_t nearest = 0;
            float reached = 0, heights = 0;
            for (std::size_t k = 0; k < 4; ++k) {
                const bool counts = !std::isnan(arrival[cells.at(k)]);
                reached += counts ? weights.at(k) : 0.0F;
                heights += weights.at(k) * height[cells.at(k)];
                const bool better =
                    std::isnan(arrival[cells.at(nearest)]) || weights.at(k) > weights.at(nearest);
                if (counts && better) nearest = k;
            }
            if (!(reached > 0.3F)) continue;
            float sum = 0, times = 0;
            for (std::size_t k = 0; k < 4; ++k) {
                const float apart = arrival[cells.at(k)] - arrival[cells.at(nearest)];
                if (!(std::abs(apart) < static_cast<float>(kAlike))) continue;
                sum += weights.at(k);
                times += weights.at(k) * arrival[cells.at(k)];
            }
            fields.arrival[y * maps.width + x] = times / sum;
            fields.height[y * maps.width + x] = heights;
        }
    };
    parallel_for(maps.height, threads, [&] { return fill_row; });
    order(arrival, fields);
    fields.lobe = track.pulse;
    const auto peak = static_cast<std::size_t>(
        std::max_element(fields.lobe.begin(), fields.lobe.end()) - fields.lobe.begin());
    std::size_t begin = peak, end = peak;
    while (begin > 0 && fields.lobe[begin] > 0.0) --begin;
    while (end < kPulseSize && fields.lobe[end] > 0.0) ++end;
    for (std::size_t i = 0; i < kPulseSize; ++i)
        if (i <= begin || i >= end) fields.lobe[i] = i == peak ? 1.0 : 0.0;
    fields.begin = pulse_offset(begin);
    fields.end = pulse_offset(std::min(end, kPulseSize - 1));
    fields.typical = track.typical;
    return fields;
}

float quantile(std::vector<float>& values, double part) {
    const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + at, values.end());
    return values[static_cast<std::size_t>(at)];
}

// Draws one map at a time; one for each thread.
class Drawer {
  public:
    Drawer(const FrontMaps& maps, const std::vector<FrontTrack>& tracks,
           const std::vector<Fields>& fields)
        : maps_(maps), tracks_(tracks), fields_(fields), pixels_(maps.height * maps.width) {}

    // Draws into a mask of zeros, and returns the support.
    double draw(std::size_t t, std::size_t object, bool always, std::uint8_t* mask) {
        const FrontTrack& track = tracks_[object];
        const Fields& own = fields_[object];
        if (track.direction == 0.0 || own.typical <= 0.0) return -1.0;
        look_near(t, own);
        float highest = 0.0F, ripest = 0.0F;
        for (std::size_t k = 0; k < near_.size(); ++k) {
            model_[k] = ripeness_[k] = 0.0F;
            if (since_[k] <= own.begin || since_[k] >= own.end) continue;
            ripeness_[k] = static_cast<float>(pulse_at(own.lobe, since_[k]));
            model_[k] = own.height[near_[k]] * ripeness_[k];
            highest = std::max(highest, model_[k]);
            ripest = std::max(ripest, ripeness_[k]);
        }
        if (!(highest > 0.0F)) return -1.0;
        const double sd = maps_.noise[t];
        const double error = kModelError * static_cast<double>(highest);
        const double trust = sd * sd / (sd * sd + error * error);
        if (!always &&
            static_cast<double>(highest) < (kFaintest + kFaintestUnseen * trust) * own.typical)
            return -1.0;
        const auto model_part = static_cast<float>(trust);
        values_.clear();  // of the highest pixels; the very highest is so by noise
        for (std::size_t k = 0; k < near_.size(); ++k)
            if (ripeness_[k] > kRipe * ripest) values_.push_back(model_[k]);
        const float top = kBelowHighest *
                          ((1 - model_part) * highest + model_part * quantile(values_, kHighShare));
        if (!(top > 0.0F)) return -1.0;
        leave_others_out(t, object);
        const float core = static_cast<float>(kOutlinePart) * top;
        values_.clear();
        shown_.clear();
        for (std::size_t k = 0; k < near_.size(); ++k) {
            blend_[k] = model_part * model_[k];
            if (std::abs(since_[k]) < kSeen) blend_[k] += (1 - model_part) * rest_[k];
            if (model_[k] <= core) continue;
            values_.push_back(blend_[k]);
            shown_.push_back(rest_[k]);
        }
        if (values_.empty()) return -1.0;
        const float seen = quantile(values_, kPeakShare) -
                           (1 - model_part) * static_cast<float>(sd);  // less what noise adds
        const float peak = model_part * top + (1 - model_part) * std::max(seen, top / 2);
        const float level = static_cast<float>(kOutlinePart) * peak;
        for (std::size_t k = 0; k < near_.size(); ++k) mask[near_[k]] = blend_[k] > level;
        keep_near_model(core, mask);
        return support(quantile(shown_, kPeakShare) * static_cast<float>(kOutlinePart), core, mask);
    }

  private:
    // Pixels at which the object may be in this map, and the maps since it arrived there.
    void look_near(std::size_t t, const Fields& own) {
        const double first = std::min(own.begin, -kSeen), last = std::max(own.end, kSeen);
        const std::size_t from = own.slots[own.slot_of(maps_.times[t] - last)];
        const std::size_t to = own.slots[own.slot_of(maps_.times[t] - first) + 1];
        near_.resize(to - from + 1);
        since_.resize(to - from + 1);
        std::size_t count = 0;
        for (std::size_t k = from; k < to; ++k) {
            const std::size_t i = own.passed[k];
            const double since = maps_.times[t] - static_cast<double>(own.arrival[i]);
            near_[count] = i;
            since_[count] = since;
            count += static_cast<std::size_t>((since > first) & (since < last));
        }
        near_.resize(count);
        since_.resize(count);
        for (auto* values : {&rest_, &model_, &ripeness_, &blend_}) values->resize(count);
    }

    // The map in the direction of the object, without what the other objects explain.
    void leave_others_out(std::size_t t, std::size_t object) {
        const float* change = maps_.change + t * pixels_;
        const auto centre = static_cast<float>(maps_.centres[t]);
        for (std::size_t k = 0; k < near_.size(); ++k) rest_[k] = change[near_[k]] - centre;
        for (std::size_t o = 0; o < tracks_.size(); ++o) {
            const Fields& other = fields_[o];
            if (o == object || tracks_[o].direction == 0.0) continue;
            const auto direction = static_cast<float>(tracks_[o].direction);
            for (std::size_t k = 0; k < near_.size(); ++k) {
                const float arrival = other.arrival[near_[k]];
                if (std::isnan(arrival)) continue;
                const double since = maps_.times[t] - static_cast<double>(arrival);
                rest_[k] -= direction * other.height[near_[k]] *
                            static_cast<float>(pulse_at(tracks_[o].pulse, since));
            }
        }
        if (tracks_[object].direction < 0)
            for (float& value : rest_) value = -value;
    }

    // Remove pieces (linked along rows and columns) that the model does not touch.
    void keep_near_model(float core, std::uint8_t* mask) {
        queue_.clear();
        for (std::size_t k = 0; k < near_.size(); ++k)
            if (mask[near_[k]] && model_[k] > core) {
                mask[near_[k]] = 2;
                queue_.push_back(near_[k]);
            }
        for (std::size_t next = 0; next < queue_.size(); ++next) {
            const std::size_t i = queue_[next], x = i % maps_.width;
            const auto take = [&](std::size_t j) {
                if (mask[j] != 1) return;
                mask[j] = 2;
                queue_.push_back(j);
            };
            if (x > 0) take(i - 1);
            if (x + 1 < maps_.width) take(i + 1);
            if (i >= maps_.width) take(i - maps_.width);
            if (i + maps_.width < pixels_) take(i + maps_.width);
        }
        for (const std::size_t i : near_) mask[i] = mask[i] == 2;
    }

    // Overlap (Dice) of the mask with where the map alone passes the level, about the model.
    double support(float level, float core, const std::uint8_t* mask) const {
        std::size_t both = 0, in_mask = 0, in_map = 0;
        for (std::size_t k = 0; k < near_.size(); ++k) {
            const bool outlined = mask[near_[k]] != 0;
            const bool shown = rest_[k] > level && level > 0 && (outlined || model_[k] > core / 4);
            in_mask += outlined;
            in_map += shown;
            both += outlined && shown;
        }
        return in_mask ? 2.0 * static_cast<double>(both) / static_cast<double>(in_mask + in_map)
                       : -1.0;
    }

    const FrontMaps& maps_;
    const std::vector<FrontTrack>& tracks_;
    const std::vector<Fields>& fields_;
    std::size_t pixels_;
    std::vector<std::size_t> near_, queue_;
    std::vector<double> since_;                           // of those near,
    std::vector<float> rest_, model_, ripeness_, blend_;  // and these, too
    std::vector<float> values_, shown_;
};

}  // namespace

void draw_fronts(const FrontMaps& maps, const std::vector<FrontTrack>& tracks,
                 const std::vector<std::size_t>& first, std::uint8_t* masks, double* support,
                 unsigned threads, const Poll& poll) {
    const std::size_t pixels = maps.height * maps.width;
    std::fill_n(support, tracks.size() * maps.maps, -1.0);
    std::vector<Fields> fields(tracks.size());
    for (std::size_t o = 0; o < tracks.size(); ++o)
        if (tracks[o].direction != 0.0) fields[o] = fields_of(tracks[o], maps, threads);
    parallel_for(
        maps.maps, threads,
        [&] {
            return [&, drawer = Drawer(maps, tracks, fields)](std::size_t t,
                                                              const std::atomic<bool>&) mutable {
                for (std::size_t o = 0; o < tracks.size(); ++o) {
                    const std::size_t at = o * maps.maps + t;
                    std::fill_n(masks + at * pixels, pixels, std::uint8_t{0});
                    if (t < first[o]) continue;
                    support[at] = drawer.draw(t, o, t == first[o], masks + at * pixels);
                }
            };
        },
        poll);
}

}  // namespace iosfast

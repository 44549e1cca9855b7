// One object in the maps, when what others explain is known: when its pulse arrives at each cell,
// how high it is there, and its course of time.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "front.hpp"

namespace iosfast {

struct FrontFit {
    const std::vector<FrontHint>* hints = nullptr;
    FrontTrack track;
    // Times before and after which a front cannot be there, per cell; of cells that it cannot have
    // reached, infinity and minus infinity. Empty until they are known.
    std::vector<double> earliest, latest;
    std::vector<float> model;  // (maps, cells): what it explains, with its sign
    std::vector<float> won;    // evidence of each cell

    std::size_t reached_cells() const;
};

using OtherFits = std::vector<const FrontFit*>;

class FrontFitter {
  public:
    FrontFitter(const FrontCells& cells, unsigned threads);

    const FrontCells& cells() const { return in_; }

    // Robust standard deviation of each map, about what was explained in the last round.
    const std::vector<double>& noise() const { return noise_; }

    // Take over the noise that another of the same maps has found.
    void adopt(const FrontFitter& other) { noise_ = other.noise_; }

    // Assume a pulse of that direction, as high as it is where it was hinted at.
    void begin(FrontFit& fit, double direction, const OtherFits& others) const;

    // A round: the most probable arrivals, which of them a front can reach, and the pulse.
    // `strict` if pulses must be told from noise beyond doubt.
    void round(FrontFit& fit, const OtherFits& others, bool strict, unsigned threads);

    // Height and course of the pulses of the cells that are reached, and what they explain.
    void learn(FrontFit& fit, const OtherFits& others) const;

    // What objects leave of the maps, robustly: the sum of log(1 + (rest / noise)^2).
    double unexplained(const OtherFits& fits, const std::vector<double>& noise) const;

  private:
    struct Labels {
        double begin;
        std::size_t count;

        double time(std::size_t label) const;
    };

    std::vector<float> rest_of(const FrontFit& fit, const OtherFits& others) const;
    double height_at_hint(const FrontFit& fit, const OtherFits& others) const;
    std::vector<double> weights(const FrontFit& fit) const;
    void update_noise(const OtherFits& fits, unsigned threads);

    Labels labels_of(const FrontFit& fit) const;
    std::vector<float> gains(const FrontFit& fit, const Labels& labels,
                             const std::vector<float>& rest, double selection,
                             unsigned threads) const;
    std::vector<float> costs(const FrontFit& fit, const Labels& labels,
                             const std::vector<float>& gain) const;
    void read(FrontFit& fit, const Labels& labels, const std::vector<float>& belief,
              const std::vector<float>& gain) const;

    struct Match {
        double product = 0, energy = 0;
    };
    Match match(const FrontTrack& track, const std::vector<float>& rest,
                const std::vector<double>& weight, std::size_t cell, float limit) const;
    void learn_heights(FrontFit& fit, const std::vector<float>& rest,
                       const std::vector<double>& weight) const;
    void learn_pulse(FrontTrack& track, const std::vector<float>& rest,
                     const std::vector<double>& weight) const;

    const FrontCells& in_;
    std::size_t count_;
    std::vector<double> noise_;
    double least_noise_ = 0, blank_noise_ = 0;
};

inline constexpr double kHeightSpread = 0.35;  // of pulses, as a part of the typical height
inline constexpr double kClip = 2.0;           // changes count up to so many typical heights

double median_of(std::vector<double> values);

}  // namespace iosfast

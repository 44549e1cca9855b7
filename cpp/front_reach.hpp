// Which cells a front can have reached, moving no faster than it can from where it was hinted at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "front.hpp"

namespace iosfast {

// Maps by which an arrival may come before what speed allows.
inline constexpr double kReachSlack = 1.0;
// Evidence against a pulse (log likelihood) up to which its neighbours may keep it.
inline constexpr float kLeastGain = 0.5F;

class Reach {
  public:
    // `arrival` and `won` (evidence) are those of `labelled` cells; a pulse begins `lead` maps
    // before (negative) its arrival. In maps of much noise a front may go on unseen.
    Reach(const FrontCells& cells, const std::vector<FrontHint>& hints,
          const std::vector<float>& arrival, const std::vector<std::uint8_t>& labelled,
          const std::vector<float>& won, double lead, std::span<const double> noise);

    // Cells that are reached: 1 or 0.
    std::vector<std::uint8_t> accept();

    // After accept: for every cell, the time before which the front cannot be there.
    const std::vector<double>& earliest() const { return earliest_; }
    // And after which it can not; minus infinity where it cannot be.
    const std::vector<double>& latest() const { return latest_; }

  private:
    // How long a front takes to the cells about one, up to a distance.
    struct Disc {
        std::ptrdiff_t most = 0;           // rows and columns on each side
        std::vector<std::ptrdiff_t> half;  // width of each row on each side
        std::vector<double> time;          // (rows, columns)
    };
    const Disc& disc(int older);
    template <class Visit>
    void about(std::size_t cell, Visit&& visit) const;
    std::vector<std::size_t> seeds(double until) const;
    // Let the front go on from a cell, as fast as it can in one step and some `older`, until a
    // time.
    void extend(std::size_t cell, int older, double until);
    // Whether all maps in (from, to] are too noisy to show a front.
    bool blind(double from, double to) const;
    void keep_main();

    const FrontCells& in_;
    const std::vector<FrontHint>& hints_;
    const std::vector<float>& arrival_;
    const std::vector<std::uint8_t>& labelled_;
    const std::vector<float>& won_;
    double lead_;
    std::vector<std::uint8_t> blind_, reached_, seed_;
    std::vector<double> earliest_, latest_;
    std::vector<Disc> discs_;  // by how much older; empty until asked for
};

}  // namespace iosfast

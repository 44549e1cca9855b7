#include <algorithm>
#include <array>
#include <numeric>

#include "front.hpp"
#include "front_fit.hpp"
#include "front_pulse.hpp"
#include "front_share.hpp"

namespace iosfast {

namespace {

constexpr int kTrialRounds = 2, kRounds = 4, kJointRounds = 3;
constexpr int kGrowingRounds = 20;    // at most, while a round adds more than
constexpr std::size_t kGrowing = 20;  // one in so many cells
constexpr double kLeadingDip = 0.7;   // part of the peak; deeper before it, and the sign is wrong
constexpr double kRefused = 1e6;      // evidence taken off for that
constexpr double kBetter = 0.99;      // part left unexplained, below which the maps are read anew

void refine(FrontFitter& fitter, FrontFit& fit, const OtherFits& others, int first, int rounds,
            unsigned threads, const Poll& poll) {
    for (int round = first; round < first + rounds; ++round) {
        fitter.round(fit, others, round >= kTrialRounds, threads);
        if (poll) poll(0);
    }
}

// Depth of what comes before the peak of a pulse (after it, back in time).
double leading_dip(const FrontTrack& track, bool backwards) {
    double dip = 0.0;
    for (std::size_t i = 0; i < kPulseSize; ++i)
        if (backwards ? pulse_offset(i) > 0.0 : pulse_offset(i) < 0.0)
            dip = std::max(dip, -track.pulse[i]);
    return dip;
}

// Follow an object on what the others leave. Both signs are tried: where a wave brightens, what
// follows it darkens, and the other way round; but it begins with a pulse, not with a dip.
void start(FrontFitter& fitter, FrontFit& fit, const OtherFits& others, int rounds,
           unsigned threads, const Poll& poll) {
    struct Trial {
        FrontFit fit;
        FrontFitter fitter;
        double evidence = 0;
    };
    FrontFit fresh;
    fresh.hints = fit.hints;
    std::array<Trial, 2> trials{Trial{fresh, fitter}, Trial{fresh, fitter}};
    parallel_for(
        trials.size(), threads,
        [&] {
            return [&](std::size_t number, const std::atomic<bool>&) {
                Trial& trial = trials.at(number);
                trial.fitter.begin(trial.fit, number == 0 ? 1.0 : -1.0, others);
                refine(trial.fitter, trial.fit, others, 0, kTrialRounds, 1, {});
                const double dip = leading_dip(trial.fit.track, fitter.cells().backwards);
                trial.evidence = trial.fit.track.evidence - (dip < kLeadingDip ? 0.0 : kRefused);
            };
        },
        poll);
    Trial& best = trials.at(trials[1].evidence > trials[0].evidence);
    fit = std::move(best.fit);
    fitter.adopt(best.fitter);
    refine(fitter, fit, others, kTrialRounds, rounds - kTrialRounds, threads, poll);
    // Where another pulse comes later, and as high, the region grows by a reach in each round.
    for (int round = 0; rounds >= kRounds && round < kGrowingRounds; ++round) {
        const std::size_t before = fit.reached_cells();
        refine(fitter, fit, others, kRounds, 1, threads, poll);
        if (fit.reached_cells() <= before + before / kGrowing) break;
    }
}

using Numbers = std::vector<std::size_t>;

OtherFits chosen(const std::vector<FrontFit>& fits, const Numbers& numbers, std::size_t without) {
    OtherFits others;
    for (const std::size_t number : numbers)
        if (number != without) others.push_back(&fits[number]);
    return others;
}

// Give each arrival to the object to whose front it belongs.
void share(const FrontFitter& fitter, std::vector<FrontFit>& fits, const Numbers& numbers) {
    const FrontCells& cells = fitter.cells();
    const std::size_t count = cells.rows * cells.columns;
    std::vector<const FrontTrack*> tracks;
    std::vector<const FrontHint*> hints;
    std::vector<std::vector<float>> arrival, won;
    for (const std::size_t number : numbers) {
        tracks.push_back(&fits[number].track);
        hints.push_back(&fits[number].hints->front());
        arrival.push_back(fits[number].track.arrival);
        won.push_back(fits[number].won);
    }
    const auto from = share_arrivals(tracks, hints, cells.rows, cells.columns);
    Numbers changed;
    for (std::size_t k = 0; k < numbers.size(); ++k) {
        FrontFit& fit = fits[numbers[k]];
        bool any = false;
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t finder = from[k][i];
            if (finder == k || (finder == kNobody && !fit.track.reached[i])) continue;
            any = true;
            fit.track.reached[i] = finder != kNobody;
            for (std::size_t t = 0; t < cells.maps; ++t) fit.model[t * count + i] = 0.0F;
            if (finder == kNobody) continue;
            fit.track.arrival[i] = arrival[finder][i];
            fit.won[i] = won[finder][i];
        }
        if (any) changed.push_back(numbers[k]);
    }
    for (const std::size_t number : changed) {
        fitter.learn(fits[number], chosen(fits, numbers, number));
        fits[number].earliest.clear();
        fits[number].latest.clear();
    }
}

// A round of all: whose is what, and each on what the others leave.
void settle(FrontFitter& fitter, std::vector<FrontFit>& fits, const Numbers& numbers,
            unsigned threads, const Poll& poll) {
    for (const std::size_t number : numbers) {
        share(fitter, fits, numbers);
        refine(fitter, fits[number], chosen(fits, numbers, number), kRounds, 1, threads, poll);
    }
}

// Follow one more object: on what the others leave, or, where that explains the maps better, on
// all of the maps, since the others may have taken its front for theirs.
void add(FrontFitter& fitter, std::vector<FrontFit>& fits, Numbers& numbers, std::size_t next,
         unsigned threads, const Poll& poll) {
    std::vector<FrontFit> anew = fits;
    FrontFitter anew_fitter = fitter;
    start(fitter, fits[next], chosen(fits, numbers, next), kRounds, threads, poll);
    numbers.push_back(next);
    if (numbers.size() == 1) return;
    start(anew_fitter, anew[next], {}, kRounds, threads, poll);
    settle(anew_fitter, anew, numbers, threads, poll);
    std::vector<FrontFit> settled = fits;
    FrontFitter settled_fitter = fitter;
    settle(settled_fitter, settled, numbers, threads, poll);
    std::vector<double> noise = settled_fitter.noise();
    for (std::size_t t = 0; t < noise.size(); ++t)
        noise[t] = std::min(noise[t], anew_fitter.noise()[t]);
    const double left = fitter.unexplained(chosen(settled, numbers, fits.size()), noise);
    const double left_anew = fitter.unexplained(chosen(anew, numbers, fits.size()), noise);
    if (left_anew >= kBetter * left) return;
    fits = std::move(anew);
    fitter.adopt(anew_fitter);
}

}  // namespace

std::vector<FrontTrack> follow_fronts(const FrontCells& cells,
                                      const std::vector<std::vector<FrontHint>>& objects,
                                      std::span<double> noise, unsigned threads, const Poll& poll) {
    FrontFitter fitter(cells, threads);
    std::vector<FrontFit> fits(objects.size());
    for (std::size_t o = 0; o < objects.size(); ++o) fits[o].hints = &objects[o];
    Numbers open(objects.size()), done;
    std::iota(open.begin(), open.end(), std::size_t{0});
    // The object that is told most clearly first; then the others.
    while (!open.empty()) {
        std::size_t next = open.front();
        if (open.size() > 1) {
            const OtherFits others = chosen(fits, done, objects.size());
            std::vector<double> evidence(open.size());
            parallel_for(
                open.size(), threads,
                [&] {
                    return [&](std::size_t i, const std::atomic<bool>&) {
                        FrontFitter alone = fitter;
                        FrontFit trial = fits[open[i]];
                        start(alone, trial, others, kTrialRounds, 1, {});
                        evidence[i] = trial.track.evidence;
                    };
                },
                poll);
            next = open[static_cast<std::size_t>(
                std::max_element(evidence.begin(), evidence.end()) - evidence.begin())];
        }
        add(fitter, fits, done, next, threads, poll);
        std::erase(open, next);
    }
    if (done.size() > 1)
        for (int round = 0; round < kJointRounds; ++round)
            settle(fitter, fits, done, threads, poll);
    std::copy(fitter.noise().begin(), fitter.noise().end(), noise.begin());
    std::vector<FrontTrack> tracks;
    tracks.reserve(fits.size());
    for (FrontFit& fit : fits) tracks.push_back(std::move(fit.track));
    return tracks;
}

}  // namespace iosfast

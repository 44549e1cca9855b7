// Whose arrivals are whose, when several fronts were followed at once.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "front.hpp"

namespace iosfast {

inline constexpr std::size_t kNobody = std::numeric_limits<std::size_t>::max();

// For each object and cell, the object whose arrival there belongs to its front, or kNobody. A
// front goes on from cell to neighbour and forward in time: of all chains of arrivals that begin
// at the hints, whatever object found them, each arrival is given to the object whose chain to it
// rests, goes back in time, turns, and runs along the front least. An object has one arrival at a
// cell, and keeps those of its hints.
std::vector<std::vector<std::size_t>> share_arrivals(const std::vector<const FrontTrack*>& tracks,
                                                     const std::vector<const FrontHint*>& hints,
                                                     std::size_t rows, std::size_t columns);

}  // namespace iosfast

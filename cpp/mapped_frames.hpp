// Frames of a file that is in the page cache, read through a memory map: no copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "frame_source.hpp"

namespace iosfast {

// A memory map whose pages may vanish: where the file has become shorter, the map reads as zeros
// and says so, instead of the system killing the process (SIGBUS).
class MappedFrames final : public FrameSource {
  public:
    // Maps the frames that begin at some offsets of a file; null if this system cannot, or if the
    // file is not in the page cache (reading it is faster then). `first_frame` is the number of the
    // first one, for errors.
    static std::unique_ptr<MappedFrames> open(const std::string& path, std::size_t first_frame,
                                              std::vector<std::uint64_t> offsets,
                                              std::size_t height, std::size_t width, PixelType type,
                                              bool swapped);
    ~MappedFrames() override;
    // Pixels of a frame of the map.
    const std::byte* frame(std::size_t number) const;

    std::unique_ptr<FrameCursor> cursor() const override;
    bool in_memory() const override { return true; }
    // Brings the pages of some frames in.
    void prepare(std::size_t first, std::size_t last) const override;
    // Lets their pages go; throws ReadFailure if the file has become shorter than they need.
    void release(std::size_t first, std::size_t last) const override;

  private:
    struct Map;
    void check(std::size_t first, std::size_t last) const;
    MappedFrames(std::unique_ptr<Map> map, std::size_t frames, std::size_t height,
                 std::size_t width, PixelType type, bool swapped);
    std::unique_ptr<Map> map_;
};

}  // namespace iosfast

#include "frame_source.hpp"

namespace iosfast {

void swap_bytes(const std::byte* in, std::byte* out, std::size_t n, PixelType type) {
    visit_type(type, [&](auto pixel) {
        using Word = WordOf<decltype(pixel)>;
        for (std::size_t i = 0; i < n; ++i) {
            const Word value = turned(load<Word>(in, i));
            std::memcpy(out + i * sizeof(Word), &value, sizeof(Word));
        }
    });
}

std::unique_ptr<FrameCursor> MemoryFrames::cursor() const {
    return std::make_unique<PointerCursor>(data_, frame_bytes());
}

void copy_frames(const FrameSource& source, std::size_t start, std::size_t stop, std::byte* out) {
    const auto cursor = source.cursor();
    const std::size_t bytes = source.frame_bytes();
    cursor->expect(start, stop);
    for (std::size_t frame = start; frame < stop; ++frame) {
        std::byte* to = out + (frame - start) * bytes;
        const std::byte* from = cursor->fetch(frame, 0, bytes, to);
        if (from != to) std::memcpy(to, from, bytes);
        if (source.swapped) swap_bytes(to, to, source.pixels(), source.type);
    }
}

}  // namespace iosfast

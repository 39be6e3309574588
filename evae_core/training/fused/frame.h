// Maps of a training step: (n, height, width, channels) in memory, float or bfloat16, with margins; included once by
// each of the sources. Samples are divided among the threads and every sum is taken sample by sample and then in
// order, so that results do not depend on the number of threads.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

struct bfloat { uint16_t bits; };

inline float value(float x) { return x; }
inline float value(bfloat x) {
    uint32_t bits = uint32_t(x.bits) << 16;
    float y;
    std::memcpy(&y, &bits, 4);
    return y;
}
inline void set(float& to, float x) { to = x; }
inline void set(bfloat& to, float x) {  // round to nearest, ties to even; NaN stays NaN
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to.bits = uint16_t((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded);
}

// A sample with a margin of r pixels around: (height + 2r, width + 2r, channels).
struct Frame {
    int height, width, channels, r, periodic;
    long stride() const { return long(width + 2 * r) * channels; }
    long size() const { return (height + 2 * r) * stride(); }
    long at(int y, int x) const { return (y + r) * stride() + long(x + r) * channels; }
};

// Fill the margin: what lies on the other side of a periodic sample, zeros beyond an open edge.
template <class T> void fill(T* p, const Frame& f) {
    const long side = long(f.r) * f.channels, row = f.stride();
    if (!side) return;
    for (int y = 0; y < f.height; y++) {
        T* line = p + (y + f.r) * row;
        if (f.periodic) {
            std::memcpy(line, line + long(f.width) * f.channels, side * sizeof(T));
            std::memcpy(line + row - side, line + side, side * sizeof(T));
        } else {
            std::memset(line, 0, side * sizeof(T));
            std::memset(line + row - side, 0, side * sizeof(T));
        }
    }
    T *below = p + (f.height + f.r) * row;
    if (f.periodic) {
        std::memcpy(p, p + f.height * row, f.r * row * sizeof(T));
        std::memcpy(below, p + f.r * row, f.r * row * sizeof(T));
    } else {
        std::memset(p, 0, f.r * row * sizeof(T));
        std::memset(below, 0, f.r * row * sizeof(T));
    }
}

template <class T> void add(T* to, const T* from, long n) {
    for (long i = 0; i < n; i++) set(to[i], value(to[i]) + value(from[i]));
}

// The adjoint of fill: the gradients of the margin's copies are added to those of the pixels they were copied from.
template <class T> void fold(T* g, const Frame& f) {
    const long side = long(f.r) * f.channels, row = f.stride();
    if (!side || !f.periodic) return;
    add(g + f.height * row, g, f.r * row);
    add(g + f.r * row, g + (f.height + f.r) * row, f.r * row);
    for (int y = 0; y < f.height; y++) {
        T* line = g + (y + f.r) * row;
        add(line + long(f.width) * f.channels, line, side);
        add(line + side, line + row - side, side);
    }
}

}  // namespace

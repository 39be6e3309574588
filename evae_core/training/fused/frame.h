// Maps of a training step: float (n, height, width, channels) in memory, with margins; included by each source.
// Samples are divided among the threads and every sum is taken over the same groups of samples and then in order, so
// that results do not depend on the number of threads.

#pragma once

#include <cmath>
#include <cstring>

namespace {

// L floats at any address, in one register where the processor has them that wide.
template <int L> struct Lanes { typedef float V __attribute__((vector_size(4 * L), aligned(4))); };
template <int L> using Vector = typename Lanes<L>::V;

template <int L> inline Vector<L> load(const float* from) { return *(const Vector<L>*)from; }
template <int L> inline void store(float* to, Vector<L> v) { *(Vector<L>*)to = v; }

// Store the first N of the L lanes.
template <int L, int N> inline void store_first(float* to, Vector<L> v) {
    if constexpr (N == L) store<L>(to, v);
    else if constexpr (N == 2) store<2>(to, __builtin_shufflevector(v, v, 0, 1));
    else if constexpr (N == 4) store<4>(to, __builtin_shufflevector(v, v, 0, 1, 2, 3));
    else if constexpr (N == 8) store<8>(to, __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7));
    else if constexpr (N == 6) {
        store_first<L, 4>(to, v);
        store<2>(to + 4, __builtin_shufflevector(v, v, 4, 5));
    } else {
        static_assert(N == 12 && L == 16);
        store_first<L, 8>(to, v);
        store<4>(to + 8, __builtin_shufflevector(v, v, 8, 9, 10, 11));
    }
}

// A sample with a margin of r pixels around: (height + 2r, width + 2r, channels). It is periodic along x, y or both:
// 1 + 2.
struct Frame {
    int height, width, channels, r, periodic;
    long stride() const { return long(width + 2 * r) * channels; }
    long size() const { return (height + 2 * r) * stride(); }
    long at(int y, int x) const { return (y + r) * stride() + long(x + r) * channels; }
};

// Fill the margin: along a periodic axis, which is at least r pixels long, what lies on the other side of the sample;
// zeros beyond an open edge.
inline void fill(float* p, const Frame& f) {
    const long side = long(f.r) * f.channels, row = f.stride();
    if (!side) return;
    auto copy = [&](float* to, const float* from, long n, int axis) {
        if (f.periodic & axis) std::memcpy(to, from, n * sizeof(float));
        else std::memset(to, 0, n * sizeof(float));
    };
    for (int y = 0; y < f.height; y++) {
        float* line = p + (y + f.r) * row;
        copy(line, line + long(f.width) * f.channels, side, 1);
        copy(line + row - side, line + side, side, 1);
    }
    copy(p, p + f.height * row, f.r * row, 2);
    copy(p + (f.height + f.r) * row, p + f.r * row, f.r * row, 2);
}

}  // namespace

// Direct convolutions K x K from IN to OUT channels, for the few channels this network has: maps are channels last with
// their margin, so the window of a pixel is K runs of K * IN contiguous values. Sums stay in registers, with no lane
// spent on padding where OUT is a multiple of the vector; general libraries pad and re-order, and reach half of a
// core's peak.

#pragma once

#include <algorithm>
#include <vector>

#include "frame.h"

namespace {

#ifdef __AVX512F__
constexpr int WIDE = 16, SUMS = 24;  // lanes of a vector; registers for sums, the others hold factors
#else
constexpr int WIDE = 8, SUMS = 12;
#endif

// How the outputs of P pixels are held: vectors of L channels, O of them a block.
template <int OUT> struct Tile {
    static constexpr int L = OUT % WIDE == 0 || OUT == 12 ? WIDE : 8;
    static constexpr int vectors = (OUT + L - 1) / L;
    static constexpr int O = vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
    static constexpr int block = O * L, padded = vectors * L;
    static constexpr int P = std::min(SUMS / O, 12);
};

// Weights (OUT, IN, K, K) to (blocks, K, K * IN, block), the missing channels zero. With ``turned`` they come from
// the weights (IN, OUT, K, K) of the convolution whose input gradient this one is.
template <int IN, int OUT, int K> struct Packed {
    static constexpr int block = Tile<OUT>::block, size = K * K * IN * block;
    std::vector<float> values;
    Packed(const float* w, bool turned, const float* b = nullptr)
        : values(long(K) * K * IN * Tile<OUT>::padded, 0.0f), bias(Tile<OUT>::padded, 0.0f) {
        for (int o = 0; o < OUT; o++)
            for (int i = 0; i < IN; i++)
                for (int t = 0; t < K * K; t++)
                    values[o / block * size + (long(t) * IN + i) * block + o % block] =
                        turned ? w[(long(i) * OUT + o) * K * K + K * K - 1 - t] : w[(long(o) * IN + i) * K * K + t];
        if (b) std::copy(b, b + OUT, bias.begin());
    }
    std::vector<float> bias;
};

// P pixels of a row and one block of channels, the first of them ``from``. x points to the first pixel's window.
template <int IN, int OUT, int K, int P>
inline void pixels(const float* __restrict x, long row, const float* __restrict w, const float* bias,
                   float* __restrict y, int from) {
    constexpr int L = Tile<OUT>::L, O = Tile<OUT>::O, rest = OUT % L;
    typedef Vector<L> V;
    V sum[P][O];
#pragma GCC unroll 16
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
        for (int o = 0; o < O; o++) sum[p][o] = load<L>(bias + from + o * L);
    for (int ky = 0; ky < K; ky++) {
        const float* __restrict line = x + ky * row;
        for (int k = 0; k < K * IN; k++, w += O * L) {
            V b[O];
#pragma GCC unroll 4
            for (int o = 0; o < O; o++) b[o] = load<L>(w + o * L);
#pragma GCC unroll 16
            for (int p = 0; p < P; p++)
#pragma GCC unroll 4
                for (int o = 0; o < O; o++) sum[p][o] += line[p * IN + k] * b[o];
        }
    }
#pragma GCC unroll 16
    for (int p = 0; p < P; p++)
#pragma GCC unroll 4
        for (int o = 0; o < O; o++) {
            float* to = y + p * OUT + from + o * L;
            if (rest == 0 || from + (o + 1) * L <= OUT) store<L>(to, sum[p][o]);
            else store_first<L, rest == 0 ? L : rest>(to, sum[p][o]);
        }
}

template <int IN, int OUT, int K, int P>
void row_of(const float* x, long row, const Packed<IN, OUT, K>& w, float* y, int width) {
    for (int from = 0, block = 0; from < OUT; from += w.block, block++)
        for (int X = 0; X < width; X += P) {
            const int at = std::min(X, width - P);  // the last pixels overlap those before
            pixels<IN, OUT, K, P>(x + at * IN, row, &w.values[long(block) * w.size], w.bias.data(), y + at * OUT, from);
        }
}

// The function for rows of this width: as many pixels at once as there are registers for, and few computed twice.
template <int IN, int OUT, int K> auto row_function(int width) {
    constexpr int P = Tile<OUT>::P;
    auto fits = [=](int p) { return p <= P && p <= width; };
    auto cost = [=](int p) { return fits(p) ? (width + p - 1) / p * (p + 1) : 1 << 30; };
    int best = 1;
    for (int p : {2, 3, 4, 6, 8, 12}) best = cost(p) < cost(best) ? p : best;
    switch (best) {
        case 12: return row_of<IN, OUT, K, std::min(P, 12)>;
        case 8: return row_of<IN, OUT, K, std::min(P, 8)>;
        case 6: return row_of<IN, OUT, K, std::min(P, 6)>;
        case 4: return row_of<IN, OUT, K, std::min(P, 4)>;
        case 3: return row_of<IN, OUT, K, std::min(P, 3)>;
        case 2: return row_of<IN, OUT, K, std::min(P, 2)>;
    }
    return row_of<IN, OUT, K, 1>;
}

// A sample's convolution: y inside its margin, from x with its own.
template <int IN, int OUT, int K, class Rows>
void convolve(Rows rows, const float* x, const Frame& fx, const Packed<IN, OUT, K>& w, float* y, const Frame& fy) {
    for (int Y = 0; Y < fy.height; Y++) rows(x + Y * fx.stride(), fx.stride(), w, y + fy.at(Y, 0), fy.width);
}

// The weight gradient: sums over pixels of (window of x) x (channels of dy). Vectors lie along the window, which leaves
// few lanes empty however few the channels; A of them and B channels of dy at a time. The last one reads up to L - 1
// floats past the window, at the last pixel past the map's end.
template <int IN, int OUT, int K> struct Gradient {
    static constexpr int window = K * IN;
    static constexpr int L = window % 16 == 0 || window % 16 > 12 || window > 40 ? WIDE : 8;
    static constexpr int vectors = (window + L - 1) / L, padded = vectors * L;
    static constexpr int A = SUMS == 24 && vectors % 4 == 0 ? 4 : vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2
        : vectors % 5 == 0 ? 5 : 1;
    static constexpr int most = SUMS / A;
    static constexpr int B = OUT % 24 == 0 && most >= 24 ? 24 : OUT % 12 == 0 && most >= 12 ? 12
        : OUT % 8 == 0 && most >= 8 ? 8 : most >= 6 ? 6 : most >= 4 && OUT % 4 == 0 ? 4 : most >= 3 ? 3 : 2;
    static constexpr long size = long(K) * OUT * padded;
    static_assert(OUT % B == 0);
};

template <int IN, int OUT, int K>
inline void outer(const float* __restrict x, const Frame& in, const float* __restrict d, const Frame& out, int n,
                  int rows, float* __restrict to) {
    typedef Gradient<IN, OUT, K> G;
    constexpr int L = G::L, A = G::A, B = G::B;
    Vector<L> sum[B][A];
#pragma GCC unroll 32
    for (int b = 0; b < B; b++)
#pragma GCC unroll 8
        for (int a = 0; a < A; a++) sum[b][a] = Vector<L>{};
    for (int line = 0; line < n * rows; line++) {
        const int i = line / rows, Y = line % rows;
        const float *__restrict p = x + i * in.size() + Y * in.stride();
        const float *__restrict q = d + i * out.size() + Y * out.stride();
        for (int X = 0; X < in.width; X++, p += IN, q += OUT) {
            Vector<L> v[A];
#pragma GCC unroll 8
            for (int a = 0; a < A; a++) v[a] = load<L>(p + a * L);
#pragma GCC unroll 32
            for (int b = 0; b < B; b++)
#pragma GCC unroll 8
                for (int a = 0; a < A; a++) sum[b][a] += q[b] * v[a];
        }
    }
#pragma GCC unroll 32
    for (int b = 0; b < B; b++)
#pragma GCC unroll 8
        for (int a = 0; a < A; a++) store<L>(to + b * G::padded + a * L, load<L>(to + b * G::padded + a * L) + sum[b][a]);
}

// Add the part of n samples to ``sums`` (K, OUT, padded). Bands of rows keep x and dy near while the tiles pass.
template <int IN, int OUT, int K>
void add_gradient(const float* x, const Frame& in, const float* d, const Frame& out, int n, float* sums) {
    typedef Gradient<IN, OUT, K> G;
    const int band = std::max(1, 128 / in.width);
    for (int Y = 0; Y < in.height; Y += band)
        for (int ky = 0; ky < K; ky++)
            for (int b = 0; b < OUT; b += G::B)
                for (int a = 0; a < G::padded; a += G::A * G::L)
                    outer<IN, OUT, K>(x + (Y + ky) * in.stride() + a, in, d + out.at(Y, 0) + b, out, n,
                                      std::min(band, in.height - Y), sums + (long(ky) * OUT + b) * G::padded + a);
}

}  // namespace

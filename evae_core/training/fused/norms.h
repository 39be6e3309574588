// Batch norm in training mode, leaky ReLU and what follows it, a sample at a time: the 2x2 maximum (encoder), the pixel
// shuffle or nothing (decoder). y is the convolution's output with its margin, out the next one's input with its own.

#pragma once

#include <vector>

#include "frame.h"

namespace {

// What follows the norm: the 2x2 maximum; channels (row parity, column parity, channel) become pixels of the doubled
// lattice; nothing, those channels stay as they are.
enum Kind { POOL, SHUFFLE, KEEP };

constexpr int LANES = 48;  // a run of 48 values meets the same channels as the next one: all counts divide it

typedef Vector<8> V;

inline V leaky(V x, float slope) { return x > 0 ? x : slope * x; }

// Batch norm as y -> scale y + shift, and what its gradient needs, for C channels in turn.
struct Norm {
    float scale[LANES], shift[LANES], mean[LANES], inverse[LANES];
    Norm(const float* gain, const float* bias, const float* m, const float* i, int C) {
        for (int j = 0; j < LANES; j++) {
            const int c = j % C;
            mean[j] = m[c], inverse[j] = i[c];
            scale[j] = gain[c] * i[c], shift[j] = bias[c] - m[c] * scale[j];
        }
    }
};

// The sums of n samples, (n, 2, LANES), of whose LANES ``run`` are used, to totals of C channels.
struct Totals {
    double of[2][LANES] = {};
    Totals(const std::vector<double>& sums, int n, int run, int C) {
        for (int i = 0; i < n; i++)
            for (int k = 0; k < 2; k++)
                for (int j = 0; j < run; j++) of[k][j % C] += sums[(2L * i + k) * LANES + j];
    }
};

// The gradient before the norm is scale g + constant + slope y, with the sums of g and of g times the normed value.
struct Through {
    float constant[LANES], slope[LANES];
    Through(const Totals& totals, const Norm& norm, int C, double count) {
        for (int j = 0; j < LANES; j++) {
            const double s = norm.scale[j], a = totals.of[0][j % C] / count, b = totals.of[1][j % C] / count;
            constant[j] = float(-s * (a - b * norm.mean[j] * norm.inverse[j]));
            slope[j] = float(-s * b * norm.inverse[j]);
        }
    }
};

// Sums of a row's values and of their squares, added to ``sums`` (2, LANES).
inline void add_moments(const float* y, long length, double* sums) {
    V one[LANES / 8] = {}, two[LANES / 8] = {};
    long done = 0;
    for (; done + LANES <= length; done += LANES)
        for (int v = 0; v < LANES / 8; v++) {
            const V value = load<8>(y + done + 8 * v);
            one[v] += value, two[v] += value * value;
        }
    for (int j = 0; j < LANES; j++) sums[j] += one[j / 8][j % 8], sums[LANES + j] += two[j / 8][j % 8];
    for (int j = 0; done + j < length; j++) sums[j] += y[done + j], sums[LANES + j] += double(y[done + j]) * y[done + j];
}

// A run: ``length`` contiguous values of y that go to contiguous values of out; their channels are C in turn. Vectors
// read up to 4 values past it (what is there is not used), and write none there. KEEP takes two pixels at a time: its
// width is even.
template <int C, Kind KIND> struct Run {
    static constexpr int length = KIND == POOL ? C : KIND == SHUFFLE ? 2 * C : 24;
    static constexpr int vectors = (length + 7) / 8, rest = length % 8;
    static void put(float* to, int v, V value) {
        if (rest == 0 || v < vectors - 1) store<8>(to + 8 * v, value);
        else store_first<8, rest ? rest : 8>(to + 8 * v, value);
    }
};

// Call f(run of y, run of out) for all of a sample; for the maximum f gets the first of the four pixels of y.
template <int C, Kind KIND, class F, class G>
inline void runs(float* y, const Frame& fy, float* out, const Frame& fo, F f, G after_row) {
    const int step = KIND == KEEP ? 2 : 1;
    for (int Y = 0; Y < (KIND == POOL ? fo.height : fy.height); Y++) {
        for (int p = 0; p < (KIND == SHUFFLE ? 2 : 1); p++)
            for (int X = 0; X < (KIND == POOL ? fo.width : fy.width); X += step)
                if (KIND == POOL) f(y + fy.at(2 * Y, 2 * X), out + fo.at(Y, X));
                else if (KIND == SHUFFLE) f(y + fy.at(Y, X) + p * 2 * C, out + fo.at(2 * Y + p, 2 * X));
                else f(y + fy.at(Y, X), out + fo.at(Y, X));
        after_row();
    }
}

template <int C, Kind KIND>
void norm_forward(float* y, const Frame& fy, const Norm& t, float slope, float* out, const Frame& fo) {
    typedef Run<C, KIND> R;
    const long row = fy.stride();
    runs<C, KIND>(y, fy, out, fo, [&](const float* from, float* to) {
        for (int v = 0; v < R::vectors; v++) {
            const V s = load<8>(t.scale + 8 * v), shift = load<8>(t.shift + 8 * v);
            V a = load<8>(from + 8 * v) * s;
            if (KIND == POOL) {
                const V b = load<8>(from + C + 8 * v) * s;
                const V c = load<8>(from + row + 8 * v) * s, d = load<8>(from + row + C + 8 * v) * s;
                const V above = a > b ? a : b, below = c > d ? c : d;
                a = above > below ? above : below;
            }
            R::put(to, v, leaky(a + shift, slope));
        }
    }, [] {});
    fill(out, fo);
}

// The sums that the gradient needs, into ``sums`` (2, LANES).
template <int C, Kind KIND>
void norm_sums(float* y, const Frame& fy, const Norm& t, float slope, float* dout, const Frame& fo, double* sums) {
    typedef Run<C, KIND> R;
    const long row = fy.stride();
    V sum[R::vectors] = {}, product[R::vectors] = {};
    runs<C, KIND>(y, fy, dout, fo, [&](const float* from, const float* gradient) {
        for (int v = 0; v < R::vectors; v++) {
            const V s = load<8>(t.scale + 8 * v);
            V m = load<8>(from + 8 * v);
            if (KIND == POOL) {
                const V b = load<8>(from + C + 8 * v);
                const V c = load<8>(from + row + 8 * v), d = load<8>(from + row + C + 8 * v);
                m = b * s > m * s ? b : m;
                m = c * s > m * s ? c : m;
                m = d * s > m * s ? d : m;
            }
            V g = load<8>(gradient + 8 * v);
            g = m * s + load<8>(t.shift + 8 * v) > 0 ? g : g * slope;
            sum[v] += g, product[v] += g * ((m - load<8>(t.mean + 8 * v)) * load<8>(t.inverse + 8 * v));
        }
    }, [&] {
        for (int j = 0; j < R::length; j++) sums[j] += sum[j / 8][j % 8], sums[LANES + j] += product[j / 8][j % 8];
        for (int v = 0; v < R::vectors; v++) sum[v] = product[v] = V{};
    });
}

// y becomes its own gradient: in place, since nobody else needs it and memory is what this takes its time from.
template <int C, Kind KIND>
void norm_back(float* y, const Frame& fy, const Norm& t, const Through& to, float slope, float* dout, const Frame& fo) {
    typedef Run<C, KIND> R;
    const long row = fy.stride();
    runs<C, KIND>(y, fy, dout, fo, [&](float* at, const float* gradient) {
        for (int v = 0; v < R::vectors; v++) {
            const V s = load<8>(t.scale + 8 * v), shift = load<8>(t.shift + 8 * v);
            const V constant = load<8>(to.constant + 8 * v), steep = load<8>(to.slope + 8 * v);
            const V a = load<8>(at + 8 * v), zero = {};
            V g = load<8>(gradient + 8 * v) * s;
            if (KIND == POOL) {  // of the four the gradient goes to the largest, the first one as in torch
                const V b = load<8>(at + C + 8 * v);
                const V c = load<8>(at + row + 8 * v), d = load<8>(at + row + C + 8 * v);
                const V one = a * s, two = b * s, three = c * s, four = d * s;
                const V above = two > one ? two : one, below = four > three ? four : three;
                g = (below > above ? below : above) + shift > 0 ? g : g * slope;
                const V upper = below > above ? zero : g, lower = below > above ? g : zero;
                R::put(at, v, (two > one ? zero : upper) + constant + steep * a);
                R::put(at + C, v, (two > one ? upper : zero) + constant + steep * b);
                R::put(at + row, v, (four > three ? zero : lower) + constant + steep * c);
                R::put(at + row + C, v, (four > three ? lower : zero) + constant + steep * d);
            } else {
                g = a * s + shift > 0 ? g : g * slope;
                R::put(at, v, g + constant + steep * a);
            }
        }
    }, [] {});
}

}  // namespace

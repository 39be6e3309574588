// The passes between the convolutions of a training step, each in as few sweeps over memory as it needs: batch norm,
// leaky ReLU, and the maximum (encoder) or the pixel shuffle (decoder).
//
// Channel counts divide 48 = three vectors of 16: a run of 48 values meets the same channels as the next, which makes
// sums over a channel plain vector sums.

#include <vector>

#include "frame.h"

namespace {

constexpr int LANES = 48;

inline float leaky(float x, float slope) { return x > 0 ? x : slope * x; }

// Batch norm as y -> scale y + shift, and what its gradient needs; tables repeat the channels up to LANES values.
struct Norm {
    float scale[LANES], shift[LANES], mean[LANES], inverse[LANES];
    Norm(const float* weight, const float* bias, const float* m, const float* i, int channels) {
        for (int j = 0; j < LANES; j++) {
            int c = j % channels;
            mean[j] = m[c], inverse[j] = i[c];
            scale[j] = weight[c] * i[c], shift[j] = bias[c] - m[c] * scale[j];
        }
    }
};

// sums (n, 2, LANES): of the gradients g behind the norm, and of g times the normed value. The gradient before the
// norm is scale g + constant + slope y; returns these two, a channel each, and writes the norm's own gradients.
struct Through {
    float constant[LANES], slope[LANES];
    Through(const std::vector<double>& sums, int n, const Norm& norm, int channels, double count, float* dweight,
            float* dbias) {
        double total[2][LANES] = {};
        for (int i = 0; i < n; i++)
            for (int j = 0; j < LANES; j++)
                for (int k = 0; k < 2; k++) total[k][j % channels] += sums[(2L * i + k) * LANES + j];
        for (int c = 0; c < channels; c++) dbias[c] = float(total[0][c]), dweight[c] = float(total[1][c]);
        for (int j = 0; j < LANES; j++) {
            double s = norm.scale[j], a = total[0][j % channels] / count, b = total[1][j % channels] / count;
            constant[j] = float(-s * (a - b * norm.mean[j] * norm.inverse[j]));
            slope[j] = float(-s * b * norm.inverse[j]);
        }
    }
};

void flush(double* to, float* from) {
    for (int j = 0; j < LANES; j++) to[j] += from[j], from[j] = 0;
}

template <class T>
void moments(const T* y, int n, long length, int channels, float* mean, float* variance, int threads) {
    std::vector<double> sums(2L * n * LANES, 0.0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const T* __restrict p = y + i * length;
        double* mine = &sums[2L * i * LANES];
        float one[LANES] = {}, two[LANES] = {};
        long done = 0;
        for (; done + LANES <= length; done += LANES) {
            for (int j = 0; j < LANES; j++) {
                float v = value(p[done + j]);
                one[j] += v, two[j] += v * v;
            }
            if (done % (64L * LANES) == 0) flush(mine, one), flush(mine + LANES, two);
        }
        for (int j = 0; done + j < length; j++) {
            float v = value(p[done + j]);
            one[j] += v, two[j] += v * v;
        }
        flush(mine, one), flush(mine + LANES, two);
    }
    double total[2][LANES] = {};
    for (int i = 0; i < n; i++)
        for (int j = 0; j < LANES; j++)
            for (int k = 0; k < 2; k++) total[k][j % channels] += sums[(2L * i + k) * LANES + j];
    const double count = double(n) * length / channels;
    for (int c = 0; c < channels; c++) {
        double m = total[0][c] / count, v = total[1][c] / count - m * m;
        mean[c] = float(m), variance[c] = float(v > 0 ? v : 0);
    }
}

// A block is LANES values of the pooled map; they come from 2 x LANES values of each of two rows.
template <int C> struct Pairs {
    int first[LANES], owner[2 * LANES], column[2 * LANES];  // left of the pair; which pair a value is of, and where
    Pairs() {
        for (int j = 0; j < LANES; j++) first[j] = j / C * 2 * C + j % C;
        for (int i = 0; i < 2 * LANES; i++) owner[i] = i / (2 * C) * C + i % C, column[i] = i / C % 2;
    }
};

template <class T> void load(const T* __restrict from, float* __restrict to, int n) {
#pragma omp simd
    for (int i = 0; i < n; i++) to[i] = value(from[i]);
}

// Norm, leaky ReLU, 2x2 maximum. y (n, h, w, C) -> out (n, frame of h/2, w/2).
template <class T, int C>
void pool(const T* y, int n, const Norm& norm, float slope, T* out, const Frame& f, int threads) {
    const long row = 2L * f.width * C;
    const Pairs<C> pairs;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const Norm t = norm;
        T* to = out + i * f.size();
        for (int Y = 0; Y < f.height; Y++)
            for (int b = 0; b < f.width * C; b += LANES) {
                const T* up = y + (i * f.height + Y) * 2L * row + 2 * b;
                T* __restrict line = to + f.at(Y, 0) + b;
                float one[2 * LANES], two[2 * LANES];
                load(up, one, 2 * LANES), load(up + row, two, 2 * LANES);
#pragma omp simd
                for (int j = 0; j < LANES; j++) {
                    const int k = pairs.first[j];
                    float s = t.scale[j], p = one[k] * s, q = one[k + C] * s, u = two[k] * s, v = two[k + C] * s;
                    p = p > q ? p : q, u = u > v ? u : v;
                    set(line[j], leaky((p > u ? p : u) + t.shift[j], slope));
                }
            }
        fill(to, f);
    }
}

// dout (with its margin; folded in place) -> y is overwritten by its gradient; and the norm's gradients.
template <class T, int C>
void pool_back(T* y, int n, const Norm& norm, float slope, T* dout, const Frame& f, float* dweight, float* dbias,
               int threads) {
    const long row = 2L * f.width * C;
    const Pairs<C> pairs;
    std::vector<double> sums(2L * n * LANES, 0.0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const Norm t = norm;
        T* from = dout + i * f.size();
        float sum[LANES] = {}, product[LANES] = {};
        fold(from, f);
        for (int Y = 0; Y < f.height; Y++) {
            for (int b = 0; b < f.width * C; b += LANES) {
                const T* up = y + (i * f.height + Y) * 2L * row + 2 * b;
                const T* line = from + f.at(Y, 0) + b;
                float one[2 * LANES], two[2 * LANES], d[LANES];
                load(up, one, 2 * LANES), load(up + row, two, 2 * LANES), load(line, d, LANES);
#pragma omp simd
                for (int j = 0; j < LANES; j++) {
                    const int k = pairs.first[j];
                    const float s = t.scale[j];
                    float m = one[k];
                    m = one[k + C] * s > m * s ? one[k + C] : m;
                    m = two[k] * s > m * s ? two[k] : m;
                    m = two[k + C] * s > m * s ? two[k + C] : m;
                    float g = d[j] * (m * s + t.shift[j] > 0 ? 1.0f : slope);
                    sum[j] += g, product[j] += g * ((m - t.mean[j]) * t.inverse[j]);
                }
            }
            flush(&sums[2L * i * LANES], sum), flush(&sums[(2L * i + 1) * LANES], product);
        }
    }
    const Through through(sums, n, norm, C, 4.0 * n * f.height * f.width, dweight, dbias);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const Norm t = norm;
        const Through to = through;
        const T* from = dout + i * f.size();
        for (int Y = 0; Y < f.height; Y++)
            for (int b = 0; b < f.width * C; b += LANES) {
                T* up = y + (i * f.height + Y) * 2L * row + 2 * b;
                const T* line = from + f.at(Y, 0) + b;
                float value_of[2][2 * LANES], d[LANES];
                load(up, value_of[0], 2 * LANES), load(up + row, value_of[1], 2 * LANES), load(line, d, LANES);
                float g[2][2 * LANES];  // of the four: the gradient goes to the largest, the first one as in torch
#pragma omp simd
                for (int j = 0; j < LANES; j++) {
                    const int k = pairs.first[j];
                    const float s = t.scale[j], one = value_of[0][k] * s, two = value_of[0][k + C] * s;
                    const float three = value_of[1][k] * s, four = value_of[1][k + C] * s;
                    const float above = two > one ? two : one, below = four > three ? four : three;
                    const bool low = below > above;
                    const float all = d[j] * s * ((low ? below : above) + t.shift[j] > 0 ? 1.0f : slope);
                    const float upper = low ? 0 : all, lower = low ? all : 0;
                    g[0][k] = two > one ? 0 : upper, g[0][k + C] = two > one ? upper : 0;
                    g[1][k] = four > three ? 0 : lower, g[1][k + C] = four > three ? lower : 0;
                }
                for (int r = 0; r < 2; r++) {
                    T* __restrict down = up + r * row;
                    for (int h = 0; h < 2; h++)
#pragma omp simd
                        for (int j = 0; j < LANES; j++) {
                            const int k = h * LANES + j;
                            set(down[k], g[r][k] + to.constant[j] + to.slope[j] * value_of[r][k]);
                        }
                }
            }
    }
}

// Norm and leaky ReLU of y (n, h, w, 4C), channels (row parity, column parity, channel). With shuffle the two runs of
// 2C values at low-resolution pixel (y, x) go to the neighbouring pixels (2x, 2x + 1) of the rows 2y and 2y + 1;
// without, the channels stay where they are and a row of pixels is one run. RUN is the length of a run's pieces.
struct Runs {
    int rows, pieces, step;  // runs of a sample, pieces in each, and what lies between two pieces of it
    long size;               // of a sample
    Runs(const Frame& f, bool shuffle, int C)
        : rows(f.height), pieces(shuffle ? f.width / 2 : f.width * f.channels / LANES), step(shuffle ? 4 * C : LANES),
          size(long(f.height) * f.width * f.channels) {}
    long start(const Frame& f, bool shuffle, int C, int y) const {
        return shuffle ? long(y / 2) * f.width * 2 * C + y % 2 * 2 * C : long(y) * f.width * f.channels;
    }
};

template <class T, int C, bool SHUFFLE>
void up(const T* y, int n, const Norm& norm, float slope, T* out, const Frame& f, int threads) {
    constexpr int RUN = SHUFFLE ? 2 * C : LANES;
    const Runs runs(f, SHUFFLE, C);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const Norm t = norm;
        T* to = out + i * f.size();
        for (int Y = 0; Y < runs.rows; Y++) {
            const T* __restrict from = y + i * runs.size + runs.start(f, SHUFFLE, C, Y);
            T* __restrict line = to + f.at(Y, 0);
            for (int X = 0; X < runs.pieces; X++)
#pragma omp simd
                for (int j = 0; j < RUN; j++)
                    set(line[X * RUN + j], leaky(value(from[X * runs.step + j]) * t.scale[j] + t.shift[j], slope));
        }
        fill(to, f);
    }
}

template <class T, int C, bool SHUFFLE>
void up_back(T* y, int n, const Norm& norm, float slope, T* dout, const Frame& f, float* dweight, float* dbias,
             int threads) {
    constexpr int RUN = SHUFFLE ? 2 * C : LANES;
    const Runs runs(f, SHUFFLE, C);
    std::vector<double> sums(2L * n * LANES, 0.0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const Norm t = norm;
        T* dsample = dout + i * f.size();
        float sum[LANES] = {}, product[LANES] = {};
        fold(dsample, f);
        for (int Y = 0; Y < runs.rows; Y++) {
            const T* __restrict from = y + i * runs.size + runs.start(f, SHUFFLE, C, Y);
            const T* __restrict line = dsample + f.at(Y, 0);
            for (int X = 0; X < runs.pieces; X++)
#pragma omp simd
                for (int j = 0; j < RUN; j++) {
                    float v = value(from[X * runs.step + j]);
                    float g = value(line[X * RUN + j]) * (v * t.scale[j] + t.shift[j] > 0 ? 1.0f : slope);
                    sum[j] += g, product[j] += g * ((v - t.mean[j]) * t.inverse[j]);
                }
            flush(&sums[2L * i * LANES], sum), flush(&sums[(2L * i + 1) * LANES], product);
        }
    }
    const Through through(sums, n, norm, C, double(n) * runs.size / C, dweight, dbias);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const Norm t = norm;
        const Through to = through;
        for (int Y = 0; Y < runs.rows; Y++) {
            T* __restrict at = y + i * runs.size + runs.start(f, SHUFFLE, C, Y);
            const T* __restrict line = dout + i * f.size() + f.at(Y, 0);
            for (int X = 0; X < runs.pieces; X++)
#pragma omp simd
                for (int j = 0; j < RUN; j++) {
                    float v = value(at[X * runs.step + j]), s = t.scale[j];
                    float g = value(line[X * RUN + j]) * s * (v * s + t.shift[j] > 0 ? 1.0f : slope);
                    set(at[X * runs.step + j], g + to.constant[j] + to.slope[j] * v);
                }
        }
    }
}

}  // namespace

// For the channel counts the network has; 1 is returned for any other.
#define EXPORT(T, NAME) \
extern "C" int moments_##NAME(const T* y, int n, int length, int channels, float* mean, float* variance, \
        int threads) { \
    moments(y, n, length, channels, mean, variance, threads); \
    return 0; } \
extern "C" int pool_##NAME(T* y, int n, const float* weight, const float* bias, const float* mean, \
        const float* inverse, float slope, T* out, int height, int width, int channels, int r, int periodic, \
        int threads) { \
    const Norm norm(weight, bias, mean, inverse, channels); \
    const Frame f{height, width, channels, r, periodic}; \
    switch (channels) { \
        case 6: pool<T, 6>(y, n, norm, slope, out, f, threads); return 0; \
        case 12: pool<T, 12>(y, n, norm, slope, out, f, threads); return 0; \
        case 24: pool<T, 24>(y, n, norm, slope, out, f, threads); return 0; \
        case 48: pool<T, 48>(y, n, norm, slope, out, f, threads); return 0; \
    } \
    return 1; } \
extern "C" int pool_back_##NAME(T* y, int n, const float* weight, const float* bias, const float* mean, \
        const float* inverse, float slope, T* dout, int height, int width, int channels, int r, int periodic, \
        float* dweight, float* dbias, int threads) { \
    const Norm norm(weight, bias, mean, inverse, channels); \
    const Frame f{height, width, channels, r, periodic}; \
    switch (channels) { \
        case 6: pool_back<T, 6>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
        case 12: pool_back<T, 12>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
        case 24: pool_back<T, 24>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
        case 48: pool_back<T, 48>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
    } \
    return 1; } \
extern "C" int up_##NAME(T* y, int n, const float* weight, const float* bias, const float* mean, \
        const float* inverse, float slope, T* out, int height, int width, int channels, int r, int periodic, \
        int shuffle, int threads) { \
    const Norm norm(weight, bias, mean, inverse, channels); \
    const Frame f{height, width, shuffle ? channels : 4 * channels, r, periodic}; \
    switch (channels + 100 * shuffle) { \
        case 3: up<T, 3, false>(y, n, norm, slope, out, f, threads); return 0; \
        case 106: up<T, 6, true>(y, n, norm, slope, out, f, threads); return 0; \
        case 112: up<T, 12, true>(y, n, norm, slope, out, f, threads); return 0; \
        case 124: up<T, 24, true>(y, n, norm, slope, out, f, threads); return 0; \
    } \
    return 1; } \
extern "C" int up_back_##NAME(T* y, int n, const float* weight, const float* bias, const float* mean, \
        const float* inverse, float slope, T* dout, int height, int width, int channels, int r, int periodic, \
        int shuffle, float* dweight, float* dbias, int threads) { \
    const Norm norm(weight, bias, mean, inverse, channels); \
    const Frame f{height, width, shuffle ? channels : 4 * channels, r, periodic}; \
    switch (channels + 100 * shuffle) { \
        case 3: up_back<T, 3, false>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
        case 106: up_back<T, 6, true>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
        case 112: up_back<T, 12, true>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
        case 124: up_back<T, 24, true>(y, n, norm, slope, dout, f, dweight, dbias, threads); return 0; \
    } \
    return 1; }

EXPORT(float, float32)
EXPORT(bfloat, bfloat16)

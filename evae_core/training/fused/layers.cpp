// The layers of the network: convolution, batch norm, leaky ReLU and 2x2 maximum or pixel shuffle, in two sweeps over
// the samples forward and two backward. Maps may be read up to 16 floats past their end (SLACK in __init__.py).

#include <functional>
#include <vector>

#include "convolution.h"
#include "norms.h"

namespace {

constexpr int GROUP = 8;  // samples whose weight gradients are summed together

// Tap (y, x) of the 5x5 kernel on the doubled lattice falls, for outputs of parity (p, q), on one tap of a 3x3 kernel on
// the lattice itself: call f(index there, index here). The 3x3 kernel has 4 ``out`` output channels (p, q, channel),
// and the input's ``in`` (an upsampled map), or 4 ``in`` (parities, channel) where the input is given by parities too.
template <class F> void taps(int out, int in, bool parities, F f) {
    const int wide = parities ? 4 * in : in;
    for (int p = 0; p < 2; p++)
        for (int q = 0; q < 2; q++)
            for (int o = 0; o < out; o++)
                for (int i = 0; i < in; i++)
                    for (int y = 0; y < 5; y++)
                        for (int x = 0; x < 5; x++) {
                            const int channel = parities ? ((p + y) % 2 * 2 + (q + x) % 2) * in + i : i;
                            f(((((p * 2L + q) * out + o) * wide + channel) * 3 + (p + y) / 2) * 3 + (q + x) / 2,
                              ((long(o) * in + i) * 5 + y) * 5 + x);
                        }
}

// A layer from IN to C channels; CONV: what the convolution makes of them.
template <int IN, int C, Kind KIND> struct Layer {
    static constexpr int K = KIND == POOL ? 5 : 3, CONV = KIND == POOL ? C : 4 * C;
};

// The kernel that the convolution takes, from the 5x5 one.
template <int IN, int CONV, int K> std::vector<float> kernel_of(const float* w, int out, int in, bool parities) {
    std::vector<float> kernel(1L * CONV * IN * K * K, 0.0f);
    if (K == 5) std::copy(w, w + kernel.size(), kernel.begin());
    else taps(out, in, parities, [&](long to, long from) { kernel[to] += w[from]; });
    return kernel;
}

// Gradients of a convolution: of its input (unless dx is null, or it is the first layer's) and of its weights.
// prepare(i) makes dy of sample i.
template <int IN, int CONV, int K, class F>
void convolution_back(const float* x, const Frame& fx, float* dy, const Frame& fy, int n, const float* kernel,
                      float* dx, float* dw, int out, int in, bool parities, int threads, F prepare) {
    typedef Gradient<IN, CONV, K> G;
    const int groups = (n + GROUP - 1) / GROUP, together = fy.height * fy.width < 256 ? GROUP : 1;
    std::vector<float> sums(groups * G::size, 0.0f);
    std::function<void(const float*, float*)> input = [](const float*, float*) {};
    if constexpr (IN > 3)  // nobody asks for the gradient of the spins that the network is given
        if (dx) {
            const auto rows = row_function<CONV, IN, K>(fy.width);
            input = [&fx, &fy, rows, turned = Packed<CONV, IN, K>(kernel, true)](const float* d, float* to) {
                convolve(rows, d, fy, turned, to, fx);
            };
        }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int g = 0; g < groups; g++)
        for (int i = g * GROUP, end = std::min(n, i + GROUP); i < end; i += together) {
            const int count = std::min(together, end - i);
            for (int j = i; j < i + count; j++) {
                prepare(j);
                fill(dy + j * fy.size(), fy);
                input(dy + j * fy.size(), dx ? dx + j * fx.size() : nullptr);
            }
            add_gradient<IN, CONV, K>(x + i * fx.size(), fx, dy + i * fy.size(), fy, count, &sums[g * G::size]);
        }
    std::vector<float> gradient(1L * CONV * IN * K * K);  // (CONV, IN, K, K)
    for (int o = 0; o < CONV; o++)
        for (int i = 0; i < IN; i++)
            for (int y = 0; y < K; y++)
                for (int k = 0; k < K; k++) {
                    float total = 0;
                    for (int g = 0; g < groups; g++)
                        total += sums[g * G::size + (long(y) * CONV + o) * G::padded + k * IN + i];
                    gradient[((long(o) * IN + i) * K + y) * K + k] = total;
                }
    if (K == 5) {
        std::copy(gradient.begin(), gradient.end(), dw);
        return;
    }
    std::fill(dw, dw + 25L * out * in, 0.0f);
    taps(out, in, parities, [&](long from, long to) { dw[to] += gradient[from]; });
}

template <int IN, int C, Kind KIND> Frame frame_of_out(int height, int width, int margin, int periodic) {
    if (KIND == POOL) return {height / 2, width / 2, C, margin, periodic};
    if (KIND == SHUFFLE) return {2 * height, 2 * width, C, margin, periodic};
    return {height, width, 4 * C, margin, periodic};
}

template <int IN, int C, Kind KIND>
void forward(const float* x, int n, int height, int width, int margin, int periodic, const float* w, const float* gain,
             const float* bias, float eps, float slope, float momentum, float* y, float* mean, float* inverse,
             float* running_mean, float* running_variance, float* out, int threads) {
    typedef Layer<IN, C, KIND> L;
    const Frame fx{height, width, IN, L::K / 2, periodic}, fy{height, width, L::CONV, L::K / 2, periodic};
    const Frame fo = frame_of_out<IN, C, KIND>(height, width, margin, periodic);
    const Packed<IN, L::CONV, L::K> kernel(kernel_of<IN, L::CONV, L::K>(w, C, IN, false).data(), false);
    const auto rows = row_function<IN, L::CONV, L::K>(width);
    std::vector<double> sums(2L * n * LANES, 0.0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++)
        for (int Y = 0; Y < height; Y++) {
            float* line = y + i * fy.size() + fy.at(Y, 0);
            rows(x + i * fx.size() + Y * fx.stride(), fx.stride(), kernel, line, width);
            add_moments(line, long(width) * L::CONV, &sums[2L * i * LANES]);
        }
    const Totals totals(sums, n, LANES, C);
    const double count = double(n) * height * width * L::CONV / C;
    for (int c = 0; c < C; c++) {
        const double m = totals.of[0][c] / count, v = totals.of[1][c] / count - m * m, variance = v < 0 ? 0 : v;
        mean[c] = float(m), inverse[c] = float(1 / std::sqrt(variance + eps));
        running_mean[c] += momentum * float(m - running_mean[c]);
        running_variance[c] += momentum * float(variance * (count / (count - 1)) - running_variance[c]);
    }
    const Norm norm(gain, bias, mean, inverse, C);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++)
        norm_forward<C, KIND>(y + i * fy.size(), fy, norm, slope, out + i * fo.size(), fo);
}

// y is overwritten by its gradient; dx, where it is wanted, gets values inside its margin only.
template <int IN, int C, Kind KIND>
void backward(const float* x, float* y, int n, int height, int width, int margin, int periodic, const float* w,
              const float* gain, const float* bias, float slope, const float* mean, const float* inverse, float* dout,
              float* dx, float* dw, float* dgain, float* dbias, int threads) {
    typedef Layer<IN, C, KIND> L;
    const Frame fx{height, width, IN, L::K / 2, periodic}, fy{height, width, L::CONV, L::K / 2, periodic};
    const Frame fo = frame_of_out<IN, C, KIND>(height, width, margin, periodic);
    const Norm norm(gain, bias, mean, inverse, C);
    std::vector<double> sums(2L * n * LANES, 0.0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++)
        norm_sums<C, KIND>(y + i * fy.size(), fy, norm, slope, dout + i * fo.size(), fo, &sums[2L * i * LANES]);
    const Totals totals(sums, n, Run<C, KIND>::length, C);
    for (int c = 0; c < C; c++) dbias[c] = float(totals.of[0][c]), dgain[c] = float(totals.of[1][c]);
    const Through through(totals, norm, C, double(n) * height * width * L::CONV / C);
    const auto kernel = kernel_of<IN, L::CONV, L::K>(w, C, IN, false);
    convolution_back<IN, L::CONV, L::K>(x, fx, y, fy, n, kernel.data(), dx, dw, C, IN, false, threads, [&](int i) {
        norm_back<C, KIND>(y + i * fy.size(), fy, norm, through, slope, dout + i * fo.size(), fo);
    });
}

}  // namespace

// The layers that the network has: channels in, channels out, what follows the norm. 1 is returned for any other.
//
// With r = 2 (POOL) or 1: x (n, height + 2r, width + 2r, in) with its margin; w (channels, in, 5, 5); y (n, height + 2r,
// width + 2r, CONV), the convolution's output, whose margin the backward call alone writes. gain, bias, mean and inverse
// = 1/sqrt(variance + eps) have one number per channel. out has a margin of ``margin`` pixels around height/2 x width/2
// (POOL), 2 height x 2 width (SHUFFLE) or height x width (KEEP, 4 x channels each).
#define LAYERS(X) X(3, 6, POOL) X(6, 12, POOL) X(12, 24, POOL) X(24, 48, POOL) \
    X(48, 24, SHUFFLE) X(24, 12, SHUFFLE) X(12, 6, SHUFFLE) X(6, 3, KEEP)

extern "C" int layer_forward(int in, int channels, int kind, const float* x, int n, int height, int width, int margin,
                             int periodic, const float* w, const float* gain, const float* bias, float eps, float slope,
                             float momentum, float* y, float* mean, float* inverse, float* running_mean,
                             float* running_variance, float* out, int threads) {
#define CASE(IN, C, KIND) if (in == IN && channels == C && kind == KIND) { \
        forward<IN, C, KIND>(x, n, height, width, margin, periodic, w, gain, bias, eps, slope, momentum, y, mean, \
                             inverse, running_mean, running_variance, out, threads); \
        return 0; }
    LAYERS(CASE)
#undef CASE
    return 1;
}

extern "C" int layer_backward(int in, int channels, int kind, const float* x, float* y, int n, int height, int width,
                              int margin, int periodic, const float* w, const float* gain, const float* bias,
                              float slope, const float* mean, const float* inverse, float* dout, float* dx, float* dw,
                              float* dgain, float* dbias, int threads) {
#define CASE(IN, C, KIND) if (in == IN && channels == C && kind == KIND) { \
        backward<IN, C, KIND>(x, y, n, height, width, margin, periodic, w, gain, bias, slope, mean, inverse, dout, dx, \
                              dw, dgain, dbias, threads); \
        return 0; }
    LAYERS(CASE)
#undef CASE
    return 1;
}

// The last convolution, 5x5 from 3 to 3 channels with a bias: x and v on the half-size lattice, 12 channels each
// (parities, component), where it is 3x3.
extern "C" int output_forward(const float* x, int n, int height, int width, int periodic, const float* w,
                              const float* bias, float* v, int threads) {
    const Frame f{height, width, 12, 1, periodic};
    float repeated[12];
    for (int j = 0; j < 12; j++) repeated[j] = bias[j % 3];
    const Packed<12, 12, 3> kernel(kernel_of<12, 12, 3>(w, 3, 3, true).data(), false, repeated);
    const auto rows = row_function<12, 12, 3>(width);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) convolve(rows, x + i * f.size(), f, kernel, v + i * f.size(), f);
    return 0;
}

extern "C" int output_backward(const float* x, float* dv, int n, int height, int width, int periodic, const float* w,
                               float* dx, float* dw, float* dbias, int threads) {
    const Frame f{height, width, 12, 1, periodic};
    const auto kernel = kernel_of<12, 12, 3>(w, 3, 3, true);
    std::vector<double> sums(2L * n * LANES, 0.0);
    convolution_back<12, 12, 3>(x, f, dv, f, n, kernel.data(), dx, dw, 3, 3, true, threads, [&](int i) {
        for (int Y = 0; Y < height; Y++) add_moments(dv + i * f.size() + f.at(Y, 0), 12L * width, &sums[2L * i * LANES]);
    });
    const Totals totals(sums, n, LANES, 3);
    for (int c = 0; c < 3; c++) dbias[c] = float(totals.of[0][c]);
    return 0;
}

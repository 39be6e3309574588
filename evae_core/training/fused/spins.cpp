// The two ends of a training step: spins to the first convolution's input, and the last one's output to unit spins,
// squared chords and energies, with the gradient of both.

#include "frame.h"

namespace {

template <class T> void pack(const float* x, int n, T* out, const Frame& f, int threads) {
    const long sites = long(f.height) * f.width;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const float* from = x + 3 * i * sites;
        T* to = out + i * f.size();
        for (int y = 0; y < f.height; y++) {
            T* line = to + f.at(y, 0);
            for (int x = 0; x < f.width; x++)
                for (int c = 0; c < 3; c++) set(line[3 * x + c], from[c * sites + long(y) * f.width + x]);
        }
        fill(to, f);
    }
}

// Pair field sum_b (M_b S_{i+b} + M_b^T S_{i-b}) along a row; s[c] point to site 0 of the row, rows are `stride` apart.
inline void field(const float* const s[3], long stride, int x, const float* M, float* h) {
    for (int a = 0; a < 3; a++) {
        h[a] = 0;
        for (int b = 0; b < 3; b++)
            h[a] += M[3 * a + b] * s[b][x + 1] + M[3 * b + a] * s[b][x - 1] + M[9 + 3 * a + b] * s[b][x + stride]
                    + M[9 + 3 * b + a] * s[b][x - stride];
    }
}

}  // namespace

extern "C" int pack_float32(const float* x, int n, float* out, int height, int width, int r, int periodic,
                            int threads) {
    pack(x, n, out, Frame{height, width, 3, r, periodic}, threads);
    return 0;
}

extern "C" int pack_bfloat16(const float* x, int n, bfloat* out, int height, int width, int r, int periodic,
                             int threads) {
    pack(x, n, out, Frame{height, width, 3, r, periodic}, threads);
    return 0;
}

// Unit spins and the sums of two losses. v (n, Ny/2, Nx/2, 12), channels (row parity, column parity, component);
// target (n, 3, Ny, Nx); mask (Ny, Nx) or null; M the bond matrices +x, +y. Writes spins (n, 3, Ny + 2, Nx + 2) with a
// margin, inverse (n, Ny, Nx) = 1/|v|, 0 on non-magnetic sites; per sample the sum of squared chords and the energy.
extern "C" int spins_forward(const float* v, const float* target, const float* mask, int n, int ny, int nx,
                             int periodic, const float* M, float B, float K, float* spins, float* inverse,
                             double* chords, double* energies, int threads) {
    const long sites = long(ny) * nx, stride = nx + 2, plane = (ny + 2) * stride;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        float* S = spins + 3 * i * plane;
        const float* want = target + 3 * i * sites;
        double chord = 0, energy = 0;
        for (int y = 0; y < ny; y++) {
            const float* __restrict from = v + 3 * i * sites + long(y / 2) * nx * 6 + 6 * (y % 2);
            float* __restrict length = inverse + i * sites + long(y) * nx;
            float* __restrict line = S + (y + 1) * stride + 1;
            const float* __restrict w = want + long(y) * nx;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int x = 0; x < nx; x++) {
                const float* p = from + 12 * (x >> 1) + 3 * (x & 1);
                float a = p[0], b = p[1], c = p[2];
                float norm = std::sqrt(a * a + b * b + c * c);
                float over = (mask ? mask[long(y) * nx + x] : 1.0f) / (norm > 1e-12f ? norm : 1e-12f);
                a *= over, b *= over, c *= over;
                length[x] = over, line[x] = a, line[plane + x] = b, line[2 * plane + x] = c;
                float da = a - w[x], db = b - w[sites + x], dc = c - w[2 * sites + x];
                sum += da * da + db * db + dc * dc;
            }
            chord += sum;
        }
        for (int c = 0; c < 3; c++) fill(S + c * plane, Frame{ny, nx, 1, 1, periodic});
        for (int y = 0; y < ny; y++) {
            const float* s[3];
            for (int c = 0; c < 3; c++) s[c] = S + c * plane + (y + 1) * stride + 1;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int x = 0; x < nx; x++) {
                float h[3];
                field(s, stride, x, M, h);
                float z = s[2][x];
                sum += 0.5f * (s[0][x] * h[0] + s[1][x] * h[1] + z * h[2]) + z * (B + K * z);
            }
            energy -= sum;
        }
        chords[i] = chord, energies[i] = energy;
    }
    return 0;
}

// dv of  chord/2 x sum of squared chords + energy x sum of energies.
extern "C" int spins_backward(const float* spins, const float* inverse, const float* target, int n, int ny, int nx,
                              const float* M, float B, float K, float chord, float energy, float* dv, int threads) {
    const long sites = long(ny) * nx, stride = nx + 2, plane = (ny + 2) * stride;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++)
        for (int y = 0; y < ny; y++) {
            const float* s[3];
            for (int c = 0; c < 3; c++) s[c] = spins + (3 * i + c) * plane + (y + 1) * stride + 1;
            const float* __restrict w = target + 3 * i * sites + long(y) * nx;
            const float* __restrict length = inverse + i * sites + long(y) * nx;
            float* __restrict to = dv + 3 * i * sites + long(y / 2) * nx * 6 + 6 * (y % 2);
#pragma omp simd
            for (int x = 0; x < nx; x++) {
                float h[3] = {0, 0, 0};
                if (energy != 0) {  // at gamma = 0 its gradient is not wanted
                    field(s, stride, x, M, h);
                    h[2] += B + 2 * K * s[2][x];
                }
                float g[3], along = 0;
                for (int c = 0; c < 3; c++) {
                    g[c] = chord * (s[c][x] - w[c * sites + x]) - energy * h[c];
                    along += g[c] * s[c][x];
                }
                float* p = to + 12 * (x >> 1) + 3 * (x & 1);
                for (int c = 0; c < 3; c++) p[c] = (g[c] - along * s[c][x]) * length[x];
            }
        }
    return 0;
}

// The two ends of a training step: spins to the first convolution's input, and the last one's output to unit spins,
// squared chords and energies, with the gradient of both.

#include <type_traits>
#include <vector>

#include "frame.h"

namespace {

// A row of v or dv, whose pixels (x, component) lie 3 apart in pairs that lie 12 apart, to or from three plain rows.
template <class F> inline void each(int nx, F f) {
    for (int x = 0; x < nx / 2; x++)
        for (int q = 0; q < 2; q++)
            for (int c = 0; c < 3; c++) f(12L * x + 3 * q + c, long(c) * nx + 2 * x + q);
}

// Pair field sum_b (M_b S_{i+b} + M_b^T S_{i-b}) of a row, component a; s[c] point to site 0 of the row, rows are
// ``stride`` apart. Written out: arrays inside a simd loop would go through memory.
struct Field {
    const float *s0, *s1, *s2;
    long stride;
    float right[9], left[9], up[9], down[9];
    Field(const float* M) {
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++) {
                right[3 * a + b] = M[3 * a + b], left[3 * a + b] = M[3 * b + a];
                up[3 * a + b] = M[9 + 3 * a + b], down[3 * a + b] = M[9 + 3 * b + a];
            }
    }
    void at(const float* site, long plane, long row) { s0 = site, s1 = site + plane, s2 = site + 2 * plane, stride = row; }
    template <int A> float of(int x) const {
        constexpr int a = 3 * A;
        return right[a] * s0[x + 1] + left[a] * s0[x - 1] + up[a] * s0[x + stride] + down[a] * s0[x - stride]
            + right[a + 1] * s1[x + 1] + left[a + 1] * s1[x - 1] + up[a + 1] * s1[x + stride] + down[a + 1] * s1[x - stride]
            + right[a + 2] * s2[x + 1] + left[a + 2] * s2[x - 1] + up[a + 2] * s2[x + stride]
            + down[a + 2] * s2[x - stride];
    }
};

}  // namespace

// Spins (n, 3, Ny, Nx) to the first convolution's input, channels last with a margin of 2.
extern "C" int pack(const float* spins, int n, int ny, int nx, int periodic, float* out, int threads) {
    const Frame f{ny, nx, 3, 2, periodic};
    const long sites = long(ny) * nx;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        const float* from = spins + 3 * i * sites;
        float* to = out + i * f.size();
        for (int y = 0; y < ny; y++) {
            float* line = to + f.at(y, 0);
            for (int x = 0; x < nx; x++)
                for (int c = 0; c < 3; c++) line[3 * x + c] = from[c * sites + long(y) * nx + x];
        }
        fill(to, f);
    }
    return 0;
}

// Unit spins and the sums of two losses. v (n, Ny/2, Nx/2, 12) with a margin of 1, channels (row parity, column parity,
// component); target (n, 3, Ny, Nx); mask (Ny, Nx) or null; M the bond matrices +x, +y. Writes spins (n, 3, Ny + 2,
// Nx + 2) with a margin, inverse (n, Ny, Nx) = 1/|v|, 0 on non-magnetic sites; per sample the sum of squared chords and
// the energy.
extern "C" int spins_forward(const float* v, const float* target, const float* mask, int n, int ny, int nx,
                             int periodic, const float* M, float B, float K, float* spins, float* inverse,
                             double* chords, double* energies, int threads) {
    const Frame f{ny / 2, nx / 2, 12, 1, periodic};
    const long sites = long(ny) * nx, stride = nx + 2, plane = (ny + 2) * stride;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        float* S = spins + 3 * i * plane;
        std::vector<float> row(3L * nx), ones(nx, 1.0f);
        Field field(M);
        double chord = 0, energy = 0;
        for (int y = 0; y < ny; y++) {
            const float* __restrict from = v + i * f.size() + f.at(y / 2, 0) + 6 * (y % 2);
            each(nx, [&](long there, long here) { row[here] = from[there]; });
            const float* __restrict r = row.data();
            const float* __restrict magnetic = mask ? mask + long(y) * nx : ones.data();
            const float* __restrict w = target + 3 * i * sites + long(y) * nx;
            float* __restrict length = inverse + i * sites + long(y) * nx;
            float* __restrict line = S + (y + 1) * stride + 1;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int x = 0; x < nx; x++) {
                float a = r[x], b = r[nx + x], c = r[2 * nx + x];
                float norm = std::sqrt(a * a + b * b + c * c);
                float over = magnetic[x] / (norm > 1e-12f ? norm : 1e-12f);
                a *= over, b *= over, c *= over;
                length[x] = over, line[x] = a, line[plane + x] = b, line[2 * plane + x] = c;
                float da = a - w[x], db = b - w[sites + x], dc = c - w[2 * sites + x];
                sum += da * da + db * db + dc * dc;
            }
            chord += sum;
        }
        for (int c = 0; c < 3; c++) fill(S + c * plane, Frame{ny, nx, 1, 1, periodic});
        for (int y = 0; y < ny; y++) {
            field.at(S + (y + 1) * stride + 1, plane, stride);
            const Field h = field;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int x = 0; x < nx; x++) {
                float z = h.s2[x];
                sum += 0.5f * (h.s0[x] * h.of<0>(x) + h.s1[x] * h.of<1>(x) + z * h.of<2>(x)) + z * (B + K * z);
            }
            energy -= sum;
        }
        chords[i] = chord, energies[i] = energy;
    }
    return 0;
}

// dv, inside its margin, of  chord/2 x sum of squared chords + energy x sum of energies.
extern "C" int spins_backward(const float* spins, const float* inverse, const float* target, int n, int ny, int nx,
                              const float* M, float B, float K, float chord, float energy, float* dv, int threads) {
    const Frame f{ny / 2, nx / 2, 12, 1, 0};
    const long sites = long(ny) * nx, stride = nx + 2, plane = (ny + 2) * stride;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int i = 0; i < n; i++) {
        std::vector<float> row(3L * nx);
        Field field(M);
        for (int y = 0; y < ny; y++) {
            field.at(spins + 3 * i * plane + (y + 1) * stride + 1, plane, stride);
            const Field h = field;
            const float* __restrict w = target + 3 * i * sites + long(y) * nx;
            const float* __restrict length = inverse + i * sites + long(y) * nx;
            float* __restrict r = row.data();
            auto gradients = [&](auto with_energy) {  // at gamma = 0 the energy's gradient is not wanted
                constexpr bool wanted = decltype(with_energy)::value;
#pragma omp simd
                for (int x = 0; x < nx; x++) {
                    const float a = h.s0[x], b = h.s1[x], z = h.s2[x];
                    float ga = chord * (a - w[x]), gb = chord * (b - w[sites + x]), gz = chord * (z - w[2 * sites + x]);
                    if (wanted) {
                        ga -= energy * h.of<0>(x), gb -= energy * h.of<1>(x);
                        gz -= energy * (h.of<2>(x) + B + 2 * K * z);
                    }
                    const float along = ga * a + gb * b + gz * z;
                    r[x] = (ga - along * a) * length[x], r[nx + x] = (gb - along * b) * length[x];
                    r[2 * nx + x] = (gz - along * z) * length[x];
                }
            };
            if (energy != 0) gradients(std::true_type());
            else gradients(std::false_type());
            float* __restrict to = dv + i * f.size() + f.at(y / 2, 0) + 6 * (y % 2);
            each(nx, [&](long there, long here) { to[there] = row[here]; });
        }
    }
    return 0;
}

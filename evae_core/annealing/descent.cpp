// The descent to T = 0 on the CPU, in C++: the same steps as descend in kernels.py, some three times faster, for machines
// with a compiler.
//
// Layout. A replica's array S has the axes (2 colours, Ny + 1 rows, 3 components, R): a row of one checkerboard colour
// holds its Nc = ceil(Nx/2) sites one after the other from S[..., WIDTH] on, with one ghost site at either end. In row y
// the sites of colour c lie at x = 2k + (y + c) % 2; their four neighbours have the other colour. Ghosts hold the
// opposite edge where x is periodic and zeros where it is open, holes of a masked lattice and the row Ny hold zeros, so
// the field needs no case for the boundary. Rows are computed in whole vectors; what the last one holds beyond Nc is
// never read by a site. A site's arithmetic does not depend on its place in a vector.
//
// Vectors are the compiler's own (GCC, clang): one register where the processor has registers of 512 bits, several
// shorter ones elsewhere.

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

constexpr int WIDTH = 16;  // as in cpu.py: rows are padded to multiples of it

template <class T> struct Numbers {};
template <> struct Numbers<float> {
    typedef float V __attribute__((vector_size(64)));
};
template <> struct Numbers<double> {
    typedef double V __attribute__((vector_size(64)));
};

template <class V, class T> inline V load(const T* p) { V v; std::memcpy(&v, p, sizeof v); return v; }
template <class V, class T> inline void store(T* p, V v) { std::memcpy(p, &v, sizeof v); }

// 1/sqrt(x) for normal x > 0, by Newton steps from an estimate that is good to 14 bits at least. Exact roots and
// quotients take longer than all the rest together.
template <class V> inline V newton(V x, V y) { return y * (1.5f - (0.5f * x * y) * y); }

inline Numbers<float>::V inverse_root(Numbers<float>::V x) {
    typedef Numbers<float>::V V;
#ifdef __AVX512F__
    V y = (V)_mm512_rsqrt14_ps((__m512)x);
#else
    typedef int32_t I __attribute__((vector_size(64)));
    V y = (V)(0x5f375a86 - ((I)x >> 1));
    y = newton(x, newton(x, y));
#endif
    return newton(x, y);
}
inline Numbers<double>::V inverse_root(Numbers<double>::V x) {
    typedef Numbers<double>::V V;
#ifdef __AVX512F__
    V y = (V)_mm512_rsqrt14_pd((__m512d)x);
#else
    typedef int64_t I __attribute__((vector_size(64)));
    V y = (V)(0x5fe6eb50c7b537a9 - ((I)x >> 1));
    y = newton(x, newton(x, y));
#endif
    return newton(x, newton(x, y));
}

template <class T> struct Model { T J, D, B, K; };

template <class T> struct Lattice {
    T* S;  // of one replica
    int ny, nc, periodic;  // along x, y or both: 1 + 2
    const int *holes, *starts;  // row i = c ny + y has the non-magnetic k = holes[starts[i]] ... holes[starts[i + 1] - 1]

    long stride() const { return WIDTH + (nc + WIDTH - 1L) / WIDTH * WIDTH; }
    T* row(int c, int y) const { return S + (c * (ny + 1L) + y) * 3 * stride() + WIDTH; }
    bool empty(int c, int y) const { return starts[c * ny + y + 1] - starts[c * ny + y] == nc; }

    // After a row has changed: zero its holes, and renew its one ghost that the other colour reads.
    void close(int c, int y, T* at) const {
        const long R = stride();
        const int ghost = (y + c) % 2 ? -1 : nc, source = (y + c) % 2 ? nc - 1 : 0;
        if (starts[c * ny + y] != starts[c * ny + y + 1]) clear(c, y, at);
        for (int a = 0; a < 3; a++) at[a * R + ghost] = periodic & 1 ? at[a * R + source] : T(0);
    }
    __attribute__((noinline)) void clear(int c, int y, T* at) const {
        for (int i = starts[c * ny + y]; i < starts[c * ny + y + 1]; i++)
            for (int a = 0; a < 3; a++) at[a * stride() + holes[i]] = 0;
    }
    void close() const {
        for (int c = 0; c < 2; c++)
            for (int y = 0; y < ny; y++) close(c, y, row(c, y));
    }

    // work(c, y, row's spins, and those of its left, right, upper and lower neighbours) for every row of a sweep.
    template <class Work> void rows(Work work) const {
        for (int c = 0; c < 2; c++)
            for (int y = 0; y < ny; y++) {
                if (empty(c, y)) continue;
                const int up = y + 1 < ny ? y + 1 : periodic & 2 ? 0 : ny;
                const int down = y > 0 ? y - 1 : periodic & 2 ? ny - 1 : ny;
                const T* left = row(1 - c, y) - 1 + (y + c) % 2;
                work(c, y, row(c, y), left, left + 1, row(1 - c, up), row(1 - c, down));
            }
    }
};

// h = J (sum of neighbours) + D (-dy_z, dx_z, dy_x - dx_y) + B z, with dx = right - left and dy = up - down: the Bloch
// form. The K term is left out.
template <class T> struct Field {
    typedef typename Numbers<T>::V V;
    V x, y, z;
    Field(const T* left, const T* right, const T* up, const T* down, long R, const Model<T>& H) {
        auto at = [R](const T* p, int a) { return load<V>(p + a * R); };
        V rx = at(right, 0), ry = at(right, 1), rz = at(right, 2), lx = at(left, 0), ly = at(left, 1), lz = at(left, 2);
        V ux = at(up, 0), uy = at(up, 1), uz = at(up, 2), dx = at(down, 0), dy = at(down, 1), dz = at(down, 2);
        x = H.J * ((lx + rx) + (ux + dx)) - H.D * (uz - dz);
        y = H.J * ((ly + ry) + (uy + dy)) + H.D * (rz - lz);
        z = H.J * ((lz + rz) + (uz + dz)) + (H.D * ((ux - dx) - (ry - ly)) + H.B);
    }
};

// The field that a descent may follow: h + 2 K S^z z, and + fall S with fall = max(-2K, 0). Then the energy with K lies
// below its tangent -S.h everywhere on the sphere, so turning a spin towards h never raises it; S is parallel to itself,
// so the torque is that of the field -dE/dS.
template <bool K, class T, class V> inline void complete(Field<T>& h, V sx, V sy, V sz, T fall, T rise) {
    if (!K) return;
    h.x += fall * sx;
    h.y += fall * sy;
    h.z += rise * sz;
}

// One sweep that turns every spin towards its field h and beyond it by the factor f: S = normalise(h + (1/f - 1)(S.h) S).
//
// The tangent of the angle turned by is f times that of the angle to h, so the angle to h shrinks for every f in [1, 2),
// whatever it was: the energy cannot rise. A spin without field stays: it is added with a weight of 1e-15.
template <bool K, class T> void align(const Lattice<T>& lattice, const Model<T>& H, T factor) {
    typedef typename Numbers<T>::V V;
    constexpr int vector = sizeof(V) / sizeof(T);
    const long R = lattice.stride();
    const T fall = H.K < 0 ? -2 * H.K : 0, rise = fall + 2 * H.K, back = 1 / factor - 1;
    lattice.rows([&](int c, int y, T* at, const T* left, const T* right, const T* up, const T* down) {
        for (int k = 0; k < lattice.nc; k += vector) {
            Field<T> h(left + k, right + k, up + k, down + k, R, H);
            V sx = load<V>(at + k), sy = load<V>(at + R + k), sz = load<V>(at + 2 * R + k);
            complete<K>(h, sx, sy, sz, fall, rise);
            V weight = back * (sx * h.x + sy * h.y + sz * h.z) + T(1e-15);
            V x = h.x + weight * sx, Y = h.y + weight * sy, z = h.z + weight * sz;
            V inverse = inverse_root(x * x + (Y * Y + (z * z + T(1e-36))));
            store(at + k, x * inverse);
            store(at + R + k, Y * inverse);
            store(at + 2 * R + k, z * inverse);
        }
        lattice.close(c, y, at);
    });
}

// The largest torque |S x h|; NaN if there is one.
template <bool K, class T> T torque(const Lattice<T>& lattice, const Model<T>& H) {
    typedef typename Numbers<T>::V V;
    constexpr int vector = sizeof(V) / sizeof(T);
    const long R = lattice.stride();
    const T fall = H.K < 0 ? -2 * H.K : 0, rise = fall + 2 * H.K;
    V worst{}, index;
    for (int i = 0; i < vector; i++) index[i] = T(i);
    lattice.rows([&](int, int, T* at, const T* left, const T* right, const T* up, const T* down) {
        for (int k = 0; k < lattice.nc; k += vector) {
            Field<T> h(left + k, right + k, up + k, down + k, R, H);
            V sx = load<V>(at + k), sy = load<V>(at + R + k), sz = load<V>(at + 2 * R + k);
            complete<K>(h, sx, sy, sz, fall, rise);
            V p = sy * h.z - sz * h.y, q = sz * h.x - sx * h.z, r = sx * h.y - sy * h.x;
            V square = index < T(lattice.nc - k) ? p * p + q * q + r * r : V{};
            worst = (square <= worst) | (worst != worst) ? worst : square;
        }
    });
    T all = 0;
    for (int i = 0; i < vector; i++)
        if (!(worst[i] <= all) && all == all) all = worst[i];
    return std::sqrt(all);
}

template <bool K, class T> T descend(const Lattice<T>& lattice, const Model<T>& H, double tolerance, int max_sweeps,
                                     double slack, int patience, int stride, int* done) {
    for (;;) {
        T left = torque<K>(lattice, H);
        if (!(double(left) > tolerance) || *done >= max_sweeps) return left;
        const int end = *done + stride < max_sweeps ? *done + stride : max_sweeps;
        const T factor = T(2 - slack / (1 << (*done / patience % 4)));
        for (; *done < end; ++*done) align<K>(lattice, H, factor);
    }
}

template <class T> void descend(T* S, int ny, int nc, int periodic, const int* holes, const int* starts,
                                const T* coupling, double tolerance, int max_sweeps, double slack, int patience,
                                int stride, int* done, T* left) {
    const Model<T> H{coupling[0], coupling[1], coupling[2], coupling[3]};
    const Lattice<T> lattice{S, ny, nc, periodic, holes, starts};
    lattice.close();
    *left = H.K ? descend<true>(lattice, H, tolerance, max_sweeps, slack, patience, stride, done)
                : descend<false>(lattice, H, tolerance, max_sweeps, slack, patience, stride, done);
}

}  // namespace

// Sweeps of over-shooting alignment, until the torque, written to left, is at most the tolerance or done, which goes on
// counting, has reached max_sweeps. The factor is 2 - slack, slack halved after every patience sweeps, three times, and
// whole again; the torque is measured every stride sweeps. coupling: J, D, B, K.
extern "C" void descend_float(float* S, int ny, int nc, int periodic, const int* holes, const int* starts,
                              const float* coupling, double tolerance, int max_sweeps, double slack, int patience,
                              int stride, int* done, float* left) {
    descend(S, ny, nc, periodic, holes, starts, coupling, tolerance, max_sweeps, slack, patience, stride, done, left);
}
extern "C" void descend_double(double* S, int ny, int nc, int periodic, const int* holes, const int* starts,
                               const double* coupling, double tolerance, int max_sweeps, double slack, int patience,
                               int stride, int* done, double* left) {
    descend(S, ny, nc, periodic, holes, starts, coupling, tolerance, max_sweeps, slack, patience, stride, done, left);
}

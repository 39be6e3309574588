// The annealing kernels on the GPU: the algorithm of kernels.py, one replica a thread block.
//
// Layout. A replica is an array (2 colours, 3 components, Ny, Nc) with Nc = ceil(Nx / 2): in row y the sites of colour c
// lie at x = 2 k + (y + c) % 2, and their four neighbours have the other colour. Non-magnetic sites, and the sites that an
// odd Nx leaves over, hold zero vectors and are not visited. The lattice lies in shared memory where it fits (SHARED), else
// in global memory; the arithmetic is the same, and so are the results.
//
// A thread keeps to the sites i = t, t + T, t + 2 T, ... of a colour, i = y Nc + k, and has one xoshiro128++ stream. The
// number of threads is a power of two that depends on the lattice alone, so results do not depend on the device's size.
// Only the Bloch form of the DM interaction exists here; gpu.py turns the spins for the other.
//
// Every loop that holds a __syncthreads() runs equally often in all threads of a block.

extern __shared__ double pool[];  // descent: one number a thread; then, if SHARED, the lattice

typedef unsigned int word;

template <class T> struct Vector { T x, y, z; };

template <class T> struct Model { T J, D, B, K; };

struct Lattice {
    int Ny, Nc, periodic;
    const unsigned char* alive;  // (2, Ny, Nc), 1 where there is a spin; null: everywhere
    __device__ int plane() const { return Ny * Nc; }
};

struct Place { int i, y, k; };  // site i = y Nc + k of a colour

__device__ inline Place start(const Lattice& L) {
    int i = threadIdx.x;
    return {i, i / L.Nc, i % L.Nc};
}

__device__ inline void advance(Place& p, const Lattice& L) {  // by T sites
    int T = blockDim.x;
    p.i += T;
    p.y += T / L.Nc;
    p.k += T % L.Nc;
    if (p.k >= L.Nc) {
        p.k -= L.Nc;
        p.y += 1;
    }
}

__device__ inline bool occupied(const Lattice& L, int colour, int i) {
    return !L.alive || L.alive[colour * L.plane() + i];
}

// Spin i of a colour whose planes begin at S; zero where there is none.
template <class T> __device__ inline Vector<T> read(const T* S, int plane, int i, bool there) {
    if (!there) return {T(0), T(0), T(0)};
    return {S[i], S[plane + i], S[2 * plane + i]};
}

template <class T> __device__ inline void write(T* S, int plane, int i, Vector<T> v) {
    S[i] = v.x;
    S[plane + i] = v.y;
    S[2 * plane + i] = v.z;
}

// h = J (sum of neighbours) + D (-dy_z, dx_z, dy_x - dx_y) + B z, with dx = right - left and dy = up - down: -dE/dS
// without the K term, at site p of ``colour``.
template <class T>
__device__ inline Vector<T> field(const T* S, const Lattice& L, const Model<T>& m, int colour, Place p) {
    const int plane = L.plane(), row = p.y * L.Nc, odd = (p.y + colour) & 1;
    const T* other = S + (1 - colour) * 3 * plane;
    const int l = p.k - 1 + odd, r = p.k + odd, u = p.y + 1, d = p.y - 1;
    const bool wrap = L.periodic != 0;
    Vector<T> left = read(other, plane, row + (l < 0 ? L.Nc - 1 : l), wrap || l >= 0);
    Vector<T> right = read(other, plane, row + (r < L.Nc ? r : 0), wrap || r < L.Nc);
    Vector<T> up = read(other, plane, (u < L.Ny ? u : 0) * L.Nc + p.k, wrap || u < L.Ny);
    Vector<T> down = read(other, plane, (d < 0 ? L.Ny - 1 : d) * L.Nc + p.k, wrap || d >= 0);
    return {m.J * ((left.x + right.x) + (up.x + down.x)) - m.D * (up.z - down.z),
            m.J * ((left.y + right.y) + (up.y + down.y)) + m.D * (right.z - left.z),
            m.J * ((left.z + right.z) + (up.z + down.z)) + m.D * ((up.x - down.x) - (right.y - left.y)) + m.B};
}

// --- random numbers: xoshiro128++, seeded by splitmix64 of (seed, replica, thread) as on the CPU ---

struct Stream { word a, b, c, d; };

__device__ inline word rotl(word x, int k) { return (x << k) | (x >> (32 - k)); }

__device__ inline word next(Stream& s) {
    word result = rotl(s.a + s.d, 7) + s.a, t = s.b << 9;
    s.c ^= s.a;
    s.d ^= s.b;
    s.b ^= s.c;
    s.a ^= s.d;
    s.c ^= t;
    s.d = rotl(s.d, 11);
    return result;
}

// The upper 24 bits as a float in (0, 1]: a logarithm may be taken of it.
__device__ inline float unit(word w) { return float((w >> 8) + 1) * 0x1p-24f; }

__device__ inline unsigned long long splitmix(unsigned long long x) {
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// state : (replicas, 4, T); launched with one block of T threads a replica.
extern "C" __global__ void seed_streams(word* state, unsigned long long seed, unsigned long long first) {
    const size_t T = blockDim.x, t = threadIdx.x;
    word* mine = state + blockIdx.x * 4 * T;
    const unsigned long long key = splitmix(splitmix(seed) + first + blockIdx.x);
    const unsigned long long p = splitmix(key + t), q = splitmix(key + T + t);
    mine[t] = word(p >> 32);
    mine[T + t] = word(p);
    mine[2 * T + t] = word(q >> 32);
    mine[3 * T + t] = word(q);
}

// --- sweeps at a temperature ---

// The new spin of a heat bath: Boltzmann distributed in the field h at inverse temperature beta. The inverse of the
// cumulative distribution, its expansion for small beta |h|, and the frame about h are explained in kernels.py.
__device__ inline Vector<float> heat(Vector<float> h, float beta, Stream& s) {
    const float r = unit(next(s));
    const word w = next(s);
    float square = h.x * h.x + h.y * h.y + h.z * h.z;
    if (square < 1e-20f) {  // no field: any axis serves, and z is one
        h.z = 1e-10f;
        square = 1e-20f;
    }
    const float inverse = rsqrtf(square), a = beta * square * inverse;
    const float u = 2 * r - 1;
    float drop = a < 0.005f ? (1 - u) - 0.5f * a * (1 - u * u) : -__logf(r + (1 - r) * __expf(-2 * a)) / a;
    drop = fminf(fmaxf(drop, 0.0f), 2.0f);
    const float x = h.x * inverse, y = h.y * inverse, z = h.z * inverse;
    const float cosine = 1 - drop, sine = sqrtf(drop * (2 - drop));
    float p, q;
    sincospif(float(int(w >> 8) - 0x800000) * 0x1p-24f + float(w & 1), &q, &p);
    p *= sine;
    q *= sine;
    const float sign = copysignf(1.0f, z), f = -1 / (sign + z), g = x * y * f;
    return {cosine * x + p * (1 + sign * x * x * f) + q * g,
            cosine * y + p * sign * g + q * (sign + y * y * f),
            cosine * z - p * sign * x - q * y};
}

// The spin reflected about h.
__device__ inline Vector<float> reflect(Vector<float> h, Vector<float> v) {
    const float f = 2 * (v.x * h.x + v.y * h.y + v.z * h.z) / fmaxf(h.x * h.x + h.y * h.y + h.z * h.z, 1e-20f);
    return {f * h.x - v.x, f * h.y - v.y, f * h.z - v.z};
}

template <bool SHARED>
__device__ inline void sweep(float* spins, word* state, const float* betas, const unsigned char* kinds, int steps,
                             Lattice L, Model<float> m) {
    const int plane = L.plane(), size = 6 * plane, t = threadIdx.x, T = blockDim.x;
    float* mine = spins + size_t(blockIdx.x) * size;
    word* words = state + size_t(blockIdx.x) * 4 * T + t;
    float* S = SHARED ? reinterpret_cast<float*>(pool) : mine;
    if (SHARED) {
        for (int i = t; i < size; i += T) S[i] = mine[i];
        __syncthreads();
    }
    Stream s = {words[0], words[T], words[2 * T], words[3 * T]};
    for (int step = 0; step < steps; step++) {
        const float beta = betas[step];
        const bool hot = kinds[step] != 0;
        for (int colour = 0; colour < 2; colour++) {
            float* own = S + colour * 3 * plane;
            for (Place p = start(L); p.i < plane; advance(p, L)) {
                if (!occupied(L, colour, p.i)) continue;
                const Vector<float> h = field(S, L, m, colour, p);
                Vector<float> proposal;
                if (hot) {
                    proposal = heat(h, beta, s);
                } else {
                    proposal = reflect(h, read(own, plane, p.i, true));
                }
                if (m.K != 0) {  // Metropolis step for the K term; see _accept in kernels.py
                    const float old = own[2 * plane + p.i];
                    const float gain = beta * m.K * (proposal.z * proposal.z - old * old);
                    if (unit(next(s)) > __expf(fminf(gain, 0.0f))) continue;
                }
                write(own, plane, p.i, proposal);
            }
            __syncthreads();
        }
    }
    if (SHARED) {
        for (int i = t; i < size; i += T) mine[i] = S[i];
    }
    words[0] = s.a;
    words[T] = s.b;
    words[2 * T] = s.c;
    words[3 * T] = s.d;
}

// --- descent to T = 0 ---

__device__ inline float inverse_root(float x) { return rsqrtf(x); }
__device__ inline double inverse_root(double x) { return rsqrt(x); }

// The field that a descent may follow when K is not zero; see _add_anisotropy in kernels.py.
template <class T> __device__ inline Vector<T> with_anisotropy(Vector<T> h, Vector<T> v, T K) {
    const T fall = K < 0 ? -2 * K : T(0);
    return {h.x + fall * v.x, h.y + fall * v.y, h.z + (fall + 2 * K) * v.z};
}

// The largest torque |S x h| in the block's lattice, in every thread.
template <class T>
__device__ inline T largest_torque(const T* S, const Lattice& L, const Model<T>& m, T* part) {
    const int plane = L.plane(), t = threadIdx.x;
    T worst = 0;
    for (int colour = 0; colour < 2; colour++) {
        for (Place p = start(L); p.i < plane; advance(p, L)) {
            if (!occupied(L, colour, p.i)) continue;
            const Vector<T> v = read(S + colour * 3 * plane, plane, p.i, true);
            const Vector<T> h = with_anisotropy(field(S, L, m, colour, p), v, m.K);
            const T x = v.y * h.z - v.z * h.y, y = v.z * h.x - v.x * h.z, z = v.x * h.y - v.y * h.x;
            const T square = x * x + y * y + z * z;
            worst = square > worst ? square : worst;
        }
    }
    part[t] = worst;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (t < half && part[t + half] > part[t]) part[t] = part[t + half];
        __syncthreads();
    }
    worst = part[0];
    __syncthreads();  // before ``part`` is written again
    return sqrt(worst);
}

// Turn every spin towards its field by ``factor``, over-shooting; see _align in kernels.py.
template <class T>
__device__ inline void align(T* S, const Lattice& L, const Model<T>& m, T factor) {
    const int plane = L.plane();
    for (int colour = 0; colour < 2; colour++) {
        T* own = S + colour * 3 * plane;
        for (Place p = start(L); p.i < plane; advance(p, L)) {
            if (!occupied(L, colour, p.i)) continue;
            const Vector<T> v = read(own, plane, p.i, true);
            Vector<T> h = with_anisotropy(field(S, L, m, colour, p), v, m.K);
            const T back = (1 - factor) * sqrt(h.x * h.x + h.y * h.y + h.z * h.z);
            h = {factor * h.x + back * v.x, factor * h.y + back * v.y, factor * h.z + back * v.z};
            const T square = h.x * h.x + h.y * h.y + h.z * h.z;
            if (square < T(1e-24)) continue;  // no field: every direction is stationary
            const T inverse = inverse_root(square);
            write(own, plane, p.i, {h.x * inverse, h.y * inverse, h.z * inverse});
        }
        __syncthreads();
    }
}

template <class T, bool SHARED>
__device__ inline void descend(T* spins, T* torques, Lattice L, Model<T> m, T tolerance, int max_sweeps, T overshoot,
                               T last_overshoot, int full_stride) {
    const int size = 6 * L.plane(), t = threadIdx.x, threads = blockDim.x;
    T* part = reinterpret_cast<T*>(pool);
    T* mine = spins + size_t(blockIdx.x) * size;
    T* S = SHARED ? part + threads : mine;
    if (SHARED) {
        for (int i = t; i < size; i += threads) S[i] = mine[i];
        __syncthreads();
    }
    T factor = overshoot, torque = largest_torque(S, L, m, part);
    for (int done = 0; torque > tolerance && done < max_sweeps;) {  // the same in all threads of the block
        const int stride = min(full_stride, max_sweeps - done);
        for (int k = 0; k < stride; k++) align(S, L, m, k < stride - 2 ? factor : T(1));
        done += stride;
        const T before = torque;
        torque = largest_torque(S, L, m, part);
        if (torque > before / 3) factor = min(1 + factor / 2, last_overshoot);
    }
    if (SHARED) {
        for (int i = t; i < size; i += threads) mine[i] = S[i];
    }
    if (t == 0) torques[blockIdx.x] = torque;
}

// --- entry points: grid (replicas), block (T) ---

#define SWEEP(name, SHARED)                                                                                              \
    extern "C" __global__ void __launch_bounds__(1024)                                                                   \
    name(float* spins, word* state, const float* betas, const unsigned char* kinds, int steps, int Ny, int Nc,           \
         int periodic, const unsigned char* alive, float J, float D, float B, float K) {                                 \
        sweep<SHARED>(spins, state, betas, kinds, steps, {Ny, Nc, periodic, alive}, {J, D, B, K});                       \
    }

#define DESCEND(name, T, SHARED)                                                                                         \
    extern "C" __global__ void __launch_bounds__(1024)                                                                   \
    name(T* spins, T* torques, int Ny, int Nc, int periodic, const unsigned char* alive, T J, T D, T B, T K,             \
         T tolerance, int max_sweeps, T overshoot, T last_overshoot, int stride) {                                       \
        descend<T, SHARED>(spins, torques, {Ny, Nc, periodic, alive}, {J, D, B, K}, tolerance, max_sweeps, overshoot,    \
                           last_overshoot, stride);                                                                      \
    }

SWEEP(sweep_shared, true)
SWEEP(sweep_global, false)
DESCEND(descend_float_shared, float, true)
DESCEND(descend_float_global, float, false)
DESCEND(descend_double_shared, double, true)
DESCEND(descend_double_global, double, false)

// The annealing kernels on the GPU: the algorithm of kernels.py, one replica a thread block.
//
// Layout. In row y the sites of checkerboard colour c lie at x = 2 k + (y + c) % 2, k = 0 ... Nc - 1 = ceil(Nx / 2) - 1;
// their neighbours have the other colour: (k, y - 1), (k, y + 1), (k, y), here called ``here``, and ``side``, which is k - 1
// or k + 1. Non-magnetic sites, and the sites that an odd Nx leaves over, hold zero vectors and are not visited. In global
// memory a replica is (2 colours, 3, Ny, Nc), so that neighbouring threads read neighbouring words; where it fits it is
// worked on in shared memory (SHARED) as (2, Ny, Nc, 3): the components are then at fixed distances, which saves address
// arithmetic, and a stride of three words is as free of bank conflicts as a stride of one. The arithmetic on spins is the
// same in both.
//
// A thread keeps to a strip, a column k and some consecutive rows beginning with an even one, and walks up: the spin
// ``above`` one row is ``here`` in the next and ``below`` in the one after, so 6 numbers a site are read instead of 12. It has
// one xoshiro128++ stream. The number of threads depends on the lattice alone, so results do not depend on the device's size.
// Only the Bloch form of the DM interaction exists here; gpu.py turns the spins for the other.
//
// Every loop that holds a __syncthreads() runs equally often in all threads of a block. gpu.py compiles with fast math:
// divisions, roots, exponentials and logarithms of floats are the hardware's, good to about 2e-7.

extern __shared__ double pool[];  // descent: one number a thread; then, if SHARED, the lattice

typedef unsigned int word;

template <class T> struct Vector { T x, y, z; };

template <class T> struct Model { T J, D, B, K; };

struct Lattice {
    int Ny, Nc;
    const unsigned char* alive;  // (2, Ny, Nc), 1 where there is a spin; null: everywhere
    __device__ int plane() const { return Ny * Nc; }
};

// A thread's column k (then k + width, ...) of rows first ... last - 1, first even. Offsets in numbers: ``at``, where the
// plane of a colour holds the spin (k, first), and from there to the columns on the left and right, to the row below the
// strip and to the row above it.
struct Strip { int k, width, first, last, at, left, right, down, up; };

template <bool SHARED> __device__ inline void place(const Lattice& L, Strip& s) {
    const int step = SHARED ? 3 : 1, row = step * L.Nc;
    s.at = s.first * row + step * s.k;
    s.left = step * (s.k > 0 ? -1 : L.Nc - 1);
    s.right = step * (s.k < L.Nc - 1 ? 1 : 1 - L.Nc);
    s.down = row * (s.first > 0 ? -1 : L.Ny - 1);
    s.up = row * ((s.last < L.Ny ? s.last : 0) - s.first);
}

template <bool SHARED> __device__ inline Strip my_strip(const Lattice& L) {
    const int T = blockDim.x, t = threadIdx.x, width = min(L.Nc, T), groups = T / width;
    const int rows = (L.Ny + 2 * groups - 1) / (2 * groups) * 2, first = t / width * rows;
    Strip s = {first < L.Ny ? t % width : L.Nc, width, first, min(first + rows, L.Ny), 0, 0, 0, 0, 0};
    place<SHARED>(L, s);
    return s;
}

// The three components of a spin lie ``a`` numbers apart.
template <class T> __device__ inline Vector<T> read(const T* S, int a) { return {S[0], S[a], S[2 * a]}; }

template <class T> __device__ inline void write(T* S, int a, Vector<T> v) {
    S[0] = v.x;
    S[a] = v.y;
    S[2 * a] = v.z;
}

// h = J (sum of neighbours) + D (-dy_z, dx_z, dy_x - dx_y) + B z, with dx = right - left and dy = above - below: -dE/dS
// without the K term. ``Dx`` is D where side is the right neighbour and here the left one, -D where it is the other way.
template <class T>
__device__ inline Vector<T> field(const Model<T>& m, T Dx, Vector<T> here, Vector<T> side, Vector<T> above, Vector<T> below) {
    return {m.J * ((here.x + side.x) + (above.x + below.x)) - m.D * (above.z - below.z),
            m.J * ((here.y + side.y) + (above.y + below.y)) + Dx * (side.z - here.z),
            m.J * ((here.z + side.z) + (above.z + below.z)) + m.B + m.D * (above.x - below.x) - Dx * (side.y - here.y)};
}

// update(spin, a, h) for every site of the colour in the strip: where its spin is, the distance of components, the field.
template <bool SHARED, bool PERIODIC, int colour, class T, class Update>
__device__ inline void visit(T* S, const Lattice& L, const Strip& mine, const Model<T>& m, Update update) {
    const int plane = L.plane(), a = SHARED ? 1 : plane, row = (SHARED ? 3 : 1) * L.Nc;
    const T Dx = colour ? m.D : -m.D;  // in even rows; in odd ones the signs and the sides change places
    if (mine.k >= L.Nc) return;
    for (Strip s = mine;; place<SHARED>(L, s)) {
        const bool left_there = PERIODIC || s.k > 0, right_there = PERIODIC || s.k < L.Nc - 1;
        const bool even_there = colour ? right_there : left_there, odd_there = colour ? left_there : right_there;
        const T* middle = S + (1 - colour) * 3 * plane + s.at;
        const T* top = middle + s.up;
        const T* even_side = middle + (colour ? s.right : s.left);
        const T* odd_side = middle + (colour ? s.left : s.right) + row;
        T* own = S + colour * 3 * plane + s.at;
        const unsigned char* alive = L.alive + (colour * plane + s.first * L.Nc + s.k);
        const Vector<T> none = {T(0), T(0), T(0)};
        Vector<T> here = read(middle, a), below = PERIODIC || s.first > 0 ? read(middle + s.down, a) : none, above, next;
        int y = s.first;
        // An even row and the odd one above it, where there is one: below and here are known, above and next are found.
        const auto two_rows = [&](const Vector<T>& below, const Vector<T>& here, Vector<T>& above, Vector<T>& next) {
            above = PERIODIC || y + 1 < L.Ny ? read(middle + row, a) : none;
            if (PERIODIC || !L.alive || alive[0]) {
                update(own, a, field(m, Dx, here, even_there ? read(even_side, a) : none, above, below));
            }
            if (!PERIODIC && y + 1 >= L.Ny) return;
            next = PERIODIC || y + 2 < L.Ny ? read(y + 2 < s.last ? middle + 2 * row : top, a) : none;
            if (PERIODIC || !L.alive || alive[L.Nc]) {
                update(own + row, a, field(m, -Dx, above, odd_there ? read(odd_side, a) : none, next, here));
            }
            middle += 2 * row;
            even_side += 2 * row;
            odd_side += 2 * row;
            own += 2 * row;
            alive += 2 * L.Nc;
        };
        for (;; y += 2) {  // in turns, so that nothing is moved between registers
            two_rows(below, here, above, next);
            if ((y += 2) >= s.last) break;
            two_rows(above, next, below, here);
            if (y + 2 >= s.last) break;
        }
        if ((s.k += s.width) >= L.Nc) return;
    }
}

// The sites of one colour, then those of the other.
template <bool SHARED, bool PERIODIC, class T, class Update>
__device__ inline void visit_both(T* S, const Lattice& L, const Strip& strip, const Model<T>& m, Update update) {
    visit<SHARED, PERIODIC, 0>(S, L, strip, m, update);
    __syncthreads();
    visit<SHARED, PERIODIC, 1>(S, L, strip, m, update);
    __syncthreads();
}

// A replica on its way between global memory and shared memory.
template <class T, bool INWARD> __device__ inline void carry(T* S, T* mine, int plane) {
    for (int i = threadIdx.x; i < 2 * plane; i += blockDim.x) {
        T* there = mine + (i < plane ? i : i + 2 * plane);
        if (INWARD) {
            write(S + 3 * i, 1, read(there, plane));
        } else {
            write(there, plane, read(S + 3 * i, 1));
        }
    }
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

// The upper 23 bits as a float in [1, 2): they are its mantissa, and no conversion is needed.
__device__ inline float one_to_two(word w) { return __uint_as_float((w >> 9) + 0x3f800000u); }

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

// What a heat-bath sweep needs of its temperature.
struct Bath {
    float beta, exponent, scale, weak;
    __device__ explicit Bath(float b) : beta(b), exponent(-2.8853901f * b), scale(-0.34657359f / b), weak(0.005f / b) {}
};

// The new spin of a heat bath: Boltzmann distributed in the field h at inverse temperature beta. With a = beta |h| and r
// uniform in (0, 1], 1 - cos(angle to h) is -log(r + (1 - r) exp(-2 a)) / a. For a < 0.005 that is noise over a, and the
// expansion 2 (1 - r) (1 - a r) + O(a^2) takes its place; ``half`` is half of it, in [0, 1].
//
// The spin (p, q, c) at the drawn angles to the z axis goes to h by the half turn about the bisector of the two, or, for
// h_z < 0, of h and -z, so that there is no singular direction; the azimuth is uniform, so any such turn serves.
__device__ inline Vector<float> heat(Vector<float> h, const Bath& bath, Stream& s) {
    const float f = one_to_two(next(s)), rest = f - 1, r = 2 - f;
    const float turn = one_to_two(next(s)) * 6.2831853f - 9.4247780f;  // in [-pi, pi)
    const float square = h.x * h.x + h.y * h.y + h.z * h.z;
    float inverse = rsqrtf(square), length = square * inverse;
    float half = __saturatef(__log2f(r + rest * exp2f(bath.exponent * length)) * (bath.scale * inverse));
    if (!(length >= bath.weak)) {
        half = rest * (1 - bath.beta * length * r);
        if (square < 1e-20f) {  // no field: any axis serves
            h = {0.0f, 0.0f, 1.0f};
            inverse = length = 1;
            half = rest;
        }
    }
    const float c = 1 - 2 * half, sine = 2 * sqrtf(half - half * half);
    float p, q;
    __sincosf(turn, &q, &p);
    p *= sine;
    q *= sine;
    const float e = p * h.x + q * h.y, along = (e * (1 / (length + fabsf(h.z))) + c) * inverse;
    const float sided = __uint_as_float(__float_as_uint(e) ^ (__float_as_uint(h.z) & 0x80000000u));  // e sign(h_z)
    return {along * h.x - p, along * h.y - q, (c * h.z + sided) * inverse};
}

// The spin reflected about h.
__device__ inline Vector<float> reflect(Vector<float> h, Vector<float> v) {
    const float f = 2 * (v.x * h.x + v.y * h.y + v.z * h.z) * (1 / fmaxf(h.x * h.x + h.y * h.y + h.z * h.z, 1e-20f));
    return {f * h.x - v.x, f * h.y - v.y, f * h.z - v.z};
}

// For every beta one heat-bath sweep, if ``heated``, and then ``reflections`` over-relaxation sweeps.
template <bool SHARED, bool PERIODIC, bool ANISOTROPY>
__device__ inline void sweep(float* spins, word* state, const float* betas, int steps, int heated, int reflections,
                             Lattice L, Model<float> m) {
    const int t = threadIdx.x, T = blockDim.x;
    float* mine = spins + size_t(blockIdx.x) * 6 * L.plane();
    word* words = state + size_t(blockIdx.x) * 4 * T + t;
    float* S = SHARED ? reinterpret_cast<float*>(pool) : mine;
    if (SHARED) {
        carry<float, true>(S, mine, L.plane());
        __syncthreads();
    }
    const Strip strip = my_strip<SHARED>(L);
    Stream s = {words[0], words[T], words[2 * T], words[3 * T]};
    for (int step = 0; step < steps; step++) {
        const float beta = betas[step];  // once a sweep, from the cache: in constant memory it would cost as much
        const Bath bath(beta);
        // Metropolis step for the K term. Both updates satisfy detailed balance for the energy without it, so accepting
        // with its ratio alone satisfies it for the whole energy.
        const auto accept = [&](float* spin, int a, Vector<float> v) {
            if (ANISOTROPY) {
                const float gain = beta * m.K * (v.z * v.z - spin[2 * a] * spin[2 * a]);
                if (2 - one_to_two(next(s)) > __expf(fminf(gain, 0.0f))) return;
            }
            write(spin, a, v);
        };
        if (heated) {
            visit_both<SHARED, PERIODIC>(S, L, strip, m, [&](float* spin, int a, Vector<float> h) {
                accept(spin, a, heat(h, bath, s));
            });
        }
        for (int k = 0; k < reflections; k++) {
            visit_both<SHARED, PERIODIC>(S, L, strip, m, [&](float* spin, int a, Vector<float> h) {
                accept(spin, a, reflect(h, read(spin, a)));
            });
        }
    }
    if (SHARED) carry<float, false>(S, mine, L.plane());
    words[0] = s.a;
    words[T] = s.b;
    words[2 * T] = s.c;
    words[3 * T] = s.d;
}

// --- descent to T = 0 ---

__device__ inline float inverse_root(float x) { return rsqrtf(x); }
__device__ inline double inverse_root(double x) { return rsqrt(x); }

// The field that a descent may follow when K is not zero: h + 2 K S_z z, and + 2|K| S for K < 0. Then the energy with K lies
// below its tangent -S.h everywhere on the sphere, so turning a spin towards it never raises the energy.
template <class T> __device__ inline Vector<T> with_anisotropy(Vector<T> h, Vector<T> v, T K) {
    const T fall = K < 0 ? -2 * K : T(0);
    return {h.x + fall * v.x, h.y + fall * v.y, h.z + (fall + 2 * K) * v.z};
}

// The largest torque |S x h| in the block's lattice, in every thread.
template <bool SHARED, bool PERIODIC, class T>
__device__ inline T largest_torque(T* S, const Lattice& L, const Strip& strip, const Model<T>& m, T* part) {
    const int t = threadIdx.x;
    T worst = 0;
    visit_both<SHARED, PERIODIC>(S, L, strip, m, [&](T* spin, int a, Vector<T> h) {
        const Vector<T> v = read(spin, a);
        h = with_anisotropy(h, v, m.K);
        const T x = v.y * h.z - v.z * h.y, y = v.z * h.x - v.x * h.z, z = v.x * h.y - v.y * h.x;
        const T square = x * x + y * y + z * z;
        worst = square <= worst ? worst : square;  // NaN stays
    });
    part[t] = worst;
    __syncthreads();
    for (int n = blockDim.x; n > 1; n = (n + 1) / 2) {  // the upper half goes to the lower
        if (t < n / 2 && !(part[(n + 1) / 2 + t] <= part[t])) part[t] = part[(n + 1) / 2 + t];
        __syncthreads();
    }
    worst = part[0];
    __syncthreads();  // before ``part`` is written again
    return sqrt(worst);
}

// Turn every spin towards its field and beyond by a factor f, S = normalise(f h - (f - 1) (S.h) S): the angle between them
// shrinks for every f in [1, 2), so the energy cannot rise.
template <bool SHARED, bool PERIODIC, class T>
__device__ inline void align(T* S, const Lattice& L, const Strip& strip, const Model<T>& m, T factor) {
    visit_both<SHARED, PERIODIC>(S, L, strip, m, [&](T* spin, int a, Vector<T> h) {
        const Vector<T> v = read(spin, a);
        h = with_anisotropy(h, v, m.K);
        const T back = (1 - factor) * (v.x * h.x + v.y * h.y + v.z * h.z);
        h = {factor * h.x + back * v.x, factor * h.y + back * v.y, factor * h.z + back * v.z};
        const T square = h.x * h.x + h.y * h.y + h.z * h.z;
        if (square < T(1e-24)) return;  // no field: every direction is stationary
        const T inverse = inverse_root(square);
        write(spin, a, {h.x * inverse, h.y * inverse, h.z * inverse});
    });
}

template <class T, bool SHARED, bool PERIODIC>
__device__ inline void descend(T* spins, T* torques, Lattice L, Model<T> m, T tolerance, int max_sweeps, T slack,
                               int patience, int full_stride) {
    T* part = reinterpret_cast<T*>(pool);
    T* mine = spins + size_t(blockIdx.x) * 6 * L.plane();
    T* S = SHARED ? part + blockDim.x : mine;
    if (SHARED) {
        carry<T, true>(S, mine, L.plane());
        __syncthreads();
    }
    const Strip strip = my_strip<SHARED>(L);
    T torque = largest_torque<SHARED, PERIODIC>(S, L, strip, m, part);
    for (int done = 0; torque > tolerance && done < max_sweeps;) {  // the same in all threads of the block
        const int stride = min(full_stride, max_sweeps - done);
        const T factor = 2 - slack / T(1 << done / patience % 4);  // cpu.py says why
        for (int k = 0; k < stride; k++) align<SHARED, PERIODIC>(S, L, strip, m, factor);
        done += stride;
        torque = largest_torque<SHARED, PERIODIC>(S, L, strip, m, part);
    }
    if (SHARED) carry<T, false>(S, mine, L.plane());
    if (threadIdx.x == 0) torques[blockIdx.x] = torque;
}

// --- entry points: grid (replicas), block (T) ---

#define SWEEP(name, SHARED, PERIODIC, ANISOTROPY)                                                                        \
    extern "C" __global__ void __launch_bounds__(1024, 1)                                                                 \
    name(float* spins, word* state, const float* __restrict__ betas, int steps, int heated, int reflections, int Ny,     \
         int Nc, const unsigned char* __restrict__ alive, float J, float D, float B, float K) {                          \
        sweep<SHARED, PERIODIC, ANISOTROPY>(spins, state, betas, steps, heated, reflections, {Ny, Nc, alive},            \
                                            {J, D, B, K});                                                               \
    }

#define DESCEND(name, T, THREADS, SHARED, PERIODIC)                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS, 1)                                                              \
    name(T* spins, T* torques, int Ny, int Nc, const unsigned char* __restrict__ alive, T J, T D, T B, T K,              \
         T tolerance, int max_sweeps, T slack, int patience, int stride) {                                               \
        descend<T, SHARED, PERIODIC>(spins, torques, {Ny, Nc, alive}, {J, D, B, K}, tolerance, max_sweeps, slack,        \
                                     patience, stride);                                                                  \
    }

#define FOR_MEMORY(memory, SHARED)                                                                                       \
    SWEEP(sweep_##memory##_periodic, SHARED, true, false)                                                                \
    SWEEP(sweep_##memory##_periodic_K, SHARED, true, true)                                                               \
    SWEEP(sweep_##memory##_open, SHARED, false, false)                                                                   \
    SWEEP(sweep_##memory##_open_K, SHARED, false, true)                                                                  \
    DESCEND(descend_float_##memory##_periodic, float, 1024, SHARED, true)                                                \
    DESCEND(descend_float_##memory##_open, float, 1024, SHARED, false)                                                   \
    DESCEND(descend_double_##memory##_periodic, double, 512, SHARED, true)                                               \
    DESCEND(descend_double_##memory##_open, double, 512, SHARED, false)

FOR_MEMORY(shared, true)
FOR_MEMORY(global, false)

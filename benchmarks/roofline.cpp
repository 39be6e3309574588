// What one core can do at most: fused multiply-adds of vectors in registers, and sums of long arrays.

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float V __attribute__((vector_size(4 * LANES)));

inline void keep(V& v) { asm volatile("" : "+x"(v)); }  // the compiler must take this value for changed

// Ten independent chains of a = a b + c; returns the operations per round.
extern "C" int multiply_add(int rounds) {
    V b = V{} + 0.999f, c = V{} + 1e-3f, a0 = c, a1 = c, a2 = c, a3 = c, a4 = c, a5 = c, a6 = c, a7 = c, a8 = c, a9 = c;
    keep(b), keep(c);
    for (int i = 0; i < rounds; i++) {
        a0 = a0 * b + c, a1 = a1 * b + c, a2 = a2 * b + c, a3 = a3 * b + c, a4 = a4 * b + c;
        a5 = a5 * b + c, a6 = a6 * b + c, a7 = a7 * b + c, a8 = a8 * b + c, a9 = a9 * b + c;
        keep(a0), keep(a1), keep(a2), keep(a3), keep(a4), keep(a5), keep(a6), keep(a7), keep(a8), keep(a9);
    }
    return 2 * LANES * 10;
}

// a = b + 2 c: 12 bytes per number come and go, and 4 more where the processor reads a line before it writes to it.
extern "C" int triad(float* a, const float* b, const float* c, int n) {
    for (int i = 0; i < n; i++) a[i] = b[i] + 2 * c[i];
    return 0;
}

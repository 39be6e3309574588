// The decoder of evae_core/model.py: a latent vector becomes a state. Plain loops: 16 million products take some
// hundredths of a second. The layers' sizes come from record.js, which build.py writes.
"use strict";

// Float32Array of base64-encoded numbers, of 2 bytes each (half precision) or 4.
function numbers(base64, bytesEach) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  return bytesEach === 4 ? new Float32Array(bytes.buffer) : fromHalf(new Uint16Array(bytes.buffer));
}

function fromHalf(halves) {
  const values = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const exponent = halves[i] >> 10 & 31, fraction = halves[i] & 1023;
    const size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    values[i] = halves[i] >> 15 ? -size : size;
  }
  return values;
}

// Matrix (rows, x.length) times the vector x.
function multiply(matrix, x, rows) {
  const y = new Float32Array(rows), columns = x.length;
  for (let r = 0, at = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < columns; c++, at++) sum += matrix[at] * x[c];
    y[r] = sum;
  }
  return y;
}

// Batch norm as trained, reduced to a scale and a shift per channel, and leaky ReLU; in place.
function activate(x, scale, shift, slope) {
  const size = x.length / scale.length;
  for (let i = 0; i < x.length; i++) {
    const c = Math.floor(i / size), value = x[i] * scale[c] + shift[c];
    x[i] = value < 0 ? slope * value : value;
  }
  return x;
}

// Periodic convolution of maps (channels, n, n) with a kernel (outputs, channels, k, k), k odd.
function convolve(x, n, channels, kernel, outputs, k) {
  const r = (k - 1) / 2, wide = n + 2 * r, y = new Float32Array(outputs * n * n);
  const padded = new Float32Array(channels * wide * wide);
  for (let c = 0, at = 0; c < channels; c++) {
    for (let row = 0; row < wide; row++) {
      const from = (c * n + (row - r + n) % n) * n;
      for (let column = 0; column < wide; column++) padded[at++] = x[from + (column - r + n) % n];
    }
  }
  for (let o = 0, tap = 0; o < outputs; o++) {
    for (let c = 0; c < channels; c++) {
      for (let ky = 0; ky < k; ky++) {
        for (let kx = 0; kx < k; kx++, tap++) {
          const weight = kernel[tap];
          for (let row = 0; row < n; row++) {
            const from = (c * wide + row + ky) * wide + kx, to = (o * n + row) * n;
            for (let column = 0; column < n; column++) y[to + column] += weight * padded[from + column];
          }
        }
      }
    }
  }
  return y;
}

// A 5x5 kernel on a map that was upsampled by 2 meets only 3x3 different values. Which taps share a value depends on
// the parity of the output's row and column: four 3x3 kernels on the small map do the same with a third of the work.
function collapsed(kernel, outputs, channels) {
  const small = new Float32Array(outputs * 4 * channels * 9), place = (parity, tap) => Math.floor((parity + tap) / 2);
  for (let o = 0; o < outputs; o++) {
    for (let parity = 0; parity < 4; parity++) {
      for (let c = 0; c < channels; c++) {
        for (let tap = 0; tap < 25; tap++) {
          const y = place(parity >> 1, Math.floor(tap / 5)), x = place(parity & 1, tap % 5);
          small[((o * 4 + parity) * channels + c) * 9 + 3 * y + x] += kernel[(o * channels + c) * 25 + tap];
        }
      }
    }
  }
  return small;
}

// Maps (4 outputs, n, n), one per parity, interleaved to (outputs, 2n, 2n).
function interleave(maps, n, outputs) {
  const wide = new Float32Array(maps.length);
  for (let o = 0, at = 0; o < outputs; o++) {
    for (let parity = 0; parity < 4; parity++) {
      for (let y = 0; y < n; y++) {
        const to = (o * 2 * n + 2 * y + (parity >> 1)) * 2 * n + (parity & 1);
        for (let x = 0; x < n; x++) wide[to + 2 * x] = maps[at++];
      }
    }
  }
  return wide;
}

class Decoder {
  // shape: {latent, hidden, channels, size, slope}; weights and scales: base64, in the order in which they are used.
  constructor(shape, weights, scales) {
    const next = (values) => { let at = 0; return (count) => values.subarray(at, at += count); };
    const weight = next(numbers(weights, 2)), scale = next(numbers(scales, 4)), channels = shape.channels;
    this.low = shape.size / 2 ** (channels.length - 1);
    const width = channels[0] * this.low ** 2;
    this.shape = shape;
    this.dense = [[shape.latent, shape.hidden], [shape.hidden, width]].map(([from, to]) => ({
      to, matrix: weight(from * to), scale: scale(to), shift: scale(to)}));
    this.up = channels.slice(1).map((to, i) => ({
      from: channels[i], to, kernel: collapsed(weight(25 * channels[i] * to), to, channels[i]),
      scale: scale(to), shift: scale(to)}));
    this.last = {kernel: weight(25 * 9), bias: scale(3)};
  }

  // The state that the latent vector z stands for.
  decode(z) {
    const {slope, size} = this.shape, N = size * size;
    let x = z, n = this.low;
    for (const {to, matrix, scale, shift} of this.dense) x = activate(multiply(matrix, x, to), scale, shift, slope);
    for (const {from, to, kernel, scale, shift} of this.up) {
      x = activate(interleave(convolve(x, n, from, kernel, 4 * to, 3), n, to), scale, shift, slope);
      n *= 2;
    }
    const s = convolve(x, size, 3, this.last.kernel, 3, 5), [bx, by, bz] = this.last.bias;
    for (let i = 0; i < N; i++) {
      const sx = s[i] + bx, sy = s[N + i] + by, sz = s[2 * N + i] + bz;
      const length = Math.max(Math.sqrt(sx * sx + sy * sy + sz * sz), 1e-12);
      s[i] = sx / length;
      s[N + i] = sy / length;
      s[2 * N + i] = sz / length;
    }
    return s;
  }
}

// Eigenvalues and eigenvectors of symmetric matrices in double precision: Householder reflections make the matrix tridiagonal,
// and implicit QL steps make that diagonal (Golub and Van Loan, Matrix Computations, 8.3; EISPACK's tred2 and tql2).
import type { Parts } from "./parts.ts";

/** The eigenvalues in rising order and, row by row in the same order, the eigenvectors if they were asked for. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array | null;
}

/**
 * Decomposes a symmetric matrix in parts, between which other events may run: 2,048 rows take about a minute.
 * @param matrix n rows of n numbers; it is not changed @param withVectors whether eigenvectors are computed
 * @throws if the numbers are not finite
 */
export function* eigenParts(matrix: Float64Array, n: number, withVectors: boolean): Parts<Eigen> {
  if (!matrix.every(Number.isFinite)) {
    throw new Error("eigenParts: the matrix has numbers that are not finite");
  }
  const rows = matrix.slice(), diagonal = new Float64Array(n), beside = new Float64Array(n);
  yield* tridiagonal(rows, n, diagonal, beside, withVectors);
  yield* diagonalise(withVectors ? rows : null, n, diagonal, beside);
  const order = [...diagonal.keys()].sort((a, b) => diagonal[a] - diagonal[b]);
  const vectors = withVectors ? new Float64Array(n * n) : null;
  if (vectors) order.forEach((from, to) => vectors.set(rows.subarray(from * n, (from + 1) * n), to * n));
  return { values: Float64Array.from(order, (i) => diagonal[i]), vectors };
}

/**
 * Turns `a` into a tridiagonal matrix with the same eigenvalues. With vectors, the rows of `a` become the orthonormal basis in
 * which it has this form.
 */
function* tridiagonal(
  a: Float64Array,
  n: number,
  diagonal: Float64Array,
  beside: Float64Array,
  withVectors: boolean,
): Parts<void> {
  const reflections = new Float64Array(n);
  for (let i = n - 1; i > 0; i--) {
    if (i % 8 === 0) yield;
    const row = a.subarray(i * n, i * n + i);
    let scale = 0;
    for (let k = 0; k < i; k++) scale += Math.abs(row[k]);
    if (i === 1 || scale === 0) {
      beside[i] = row[i - 1];
      continue;
    }
    let h = 0;
    for (let k = 0; k < i; k++) {
      row[k] /= scale;
      h += row[k] * row[k];
    }
    const first = row[i - 1], length = first > 0 ? -Math.sqrt(h) : Math.sqrt(h);
    beside[i] = scale * length;
    h -= first * length;
    row[i - 1] = first - length;
    reflections[i] = h;
    // p = A u / h from the lower triangle, which is read row by row
    const p = new Float64Array(i);
    for (let j = 0; j < i; j++) {
      const other = a.subarray(j * n, j * n + j + 1), u = row[j];
      let sum = other[j] * u;
      for (let k = 0; k < j; k++) {
        sum += other[k] * row[k];
        p[k] += other[k] * u;
      }
      p[j] += sum;
    }
    let product = 0;
    for (let j = 0; j < i; j++) {
      p[j] /= h;
      product += p[j] * row[j];
    }
    const half = product / (h + h);
    for (let j = 0; j < i; j++) p[j] -= half * row[j];
    for (let j = 0; j < i; j++) {
      const other = a.subarray(j * n, j * n + j + 1), u = row[j], q = p[j];
      for (let k = 0; k <= j; k++) other[k] -= u * p[k] + q * row[k];
    }
  }
  for (let i = 0; i < n; i++) diagonal[i] = a[i * n + i];
  beside.copyWithin(0, 1);
  beside[n - 1] = 0;
  if (withVectors) yield* accumulate(a, n, reflections);
}

/** Replaces the reflections in the rows of `a` by their product, transposed: row i is the i-th vector of the basis. */
function* accumulate(a: Float64Array, n: number, reflections: Float64Array): Parts<void> {
  const basis = new Float64Array(n * n);
  for (let i = 0; i < n; i++) basis[i * n + i] = 1;
  for (let i = 1; i < n; i++) {
    if (i % 8 === 0) yield;
    if (reflections[i] === 0) continue;
    const u = a.subarray(i * n, i * n + i);
    // Q = H(n-1) ... H(1) is built from the small reflections on; only its first i columns and rows differ from the identity
    for (let j = 0; j < i; j++) {
      const row = basis.subarray(j * n, j * n + i);
      let dot = 0;
      for (let k = 0; k < i; k++) dot += row[k] * u[k];
      dot /= reflections[i];
      for (let k = 0; k < i; k++) row[k] -= dot * u[k];
    }
  }
  a.set(basis);
}

/** Makes a tridiagonal matrix diagonal, and turns the rows of `vectors` along. */
function* diagonalise(
  vectors: Float64Array | null,
  n: number,
  d: Float64Array,
  e: Float64Array,
): Parts<void> {
  for (let l = 0; l < n; l++) {
    if (l % 8 === 0) yield;
    while (true) {
      let m = l;
      while (m < n - 1 && Math.abs(e[m]) > Number.EPSILON * (Math.abs(d[m]) + Math.abs(d[m + 1]))) m++;
      if (m === l) break;
      let g = (d[l + 1] - d[l]) / (2 * e[l]), r = Math.hypot(g, 1);
      g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
      let s = 1, c = 1, p = 0, i = m - 1;
      for (; i >= l; i--) {
        let f = s * e[i];
        const b = c * e[i];
        r = Math.hypot(f, g);
        e[i + 1] = r;
        if (r === 0) { // recover from underflow
          d[i + 1] -= p;
          e[m] = 0;
          break;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        if (!vectors) continue;
        const low = vectors.subarray(i * n, (i + 1) * n), high = vectors.subarray((i + 1) * n, (i + 2) * n);
        for (let k = 0; k < n; k++) {
          f = high[k];
          high[k] = s * low[k] + c * f;
          low[k] = c * low[k] - s * f;
        }
      }
      if (r === 0 && i >= l) continue;
      d[l] -= p;
      e[l] = g;
      e[m] = 0;
    }
  }
}

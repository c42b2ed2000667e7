// Look-ups in a codebook: the index of the code nearest to a vector, and the code of an index.
import { filled, type Tensor } from "../array.ts";
import { record } from "../tape.ts";
import { checkFloats, checkTensor } from "../operands.ts";
import { plain } from "./broadcast.ts";

/**
 * For each row of z [N, C], the index of the nearest row of the codebook [K, C] by Euclidean distance, as i32 [N]. If two
 * are equally near, the lower index wins. No gradient. A row with NaN gets 0; `VQGAN.encode` reports such rows.
 * @throws if the shapes are not [N, C] and [K, C], or a tensor holds integers
 */
export function nearestCode(z: Tensor, codebook: Tensor): Tensor {
  checkFloats("nearestCode", z, codebook);
  const [count, channels] = z.shape;
  if (z.ndim !== 2 || codebook.ndim !== 2 || codebook.shape[1] !== channels) {
    throw new Error(`nearestCode: z [${z.shape}] and codebook [${codebook.shape}] must be [N, C] and [K, C]`);
  }
  const out = z.like([count], "i32");
  const [rows, table] = [plain(z), plain(codebook)];
  z.backend.run("nearestCode", {
    z: rows.slot,
    codebook: table.slot,
    out: out.slot,
    count,
    codes: codebook.shape[0],
    channels,
  });
  if (rows !== z) rows.dispose();
  if (table !== codebook) table.dispose();
  return out;
}

/**
 * The rows of a table [K, C] that i32 indices [...] select, as [..., C].
 * @throws if the indices are not i32, the table is not [K, C], or an index is not in 0..K-1. On a GPU indices are not
 * checked; one outside the table selects some row of it
 */
export function embedding(indices: Tensor, table: Tensor): Tensor {
  checkTensor("embedding", indices);
  checkFloats("embedding", table);
  if (indices.dtype !== "i32") {
    throw new Error(
      `embedding: indices must be i32, these are ${indices.dtype}: make them with tensor(Int32Array.from(list), shape)`,
    );
  }
  if (table.ndim !== 2) throw new Error(`embedding: the table has shape [${table.shape}], expected [K, C]`);
  const columns = table.shape[1], { backend } = table;
  const rows = plain(indices), from = plain(table);
  const out = table.like([...indices.shape, columns], "f32");
  backend.run("gather", { indices: rows.slot, table: from.slot, out: out.slot, columns });
  if (from !== table) from.dispose();
  record("embedding", out, [table], [rows], (g, [rows]) => {
    const gt = filled(g, table.shape, 0);
    backend.run("scatterAdd", { indices: rows.slot, rows: plain(g).slot, table: gt.slot, columns });
    return [gt];
  });
  if (rows !== indices) rows.dispose();
  return out;
}

"""Code on arrays, as users write it: ``x`` and ``z`` are matrices, ``v`` and ``w`` are vectors."""
# ruff: noqa: PLW0108  (every case is a lambda, so that its parameters name the inputs)

import numpy as np

PURE = [
    lambda x: x * 2 + 1,
    lambda x: 1 - x / 3,
    lambda x: -x,
    lambda x: x**2,
    lambda x: 2**x,
    lambda x: x // 0.3,
    lambda x: divmod(x, 0.3)[1],
    lambda x, z: x + z,
    lambda x, z: (x * 2) + (z * 3),
    lambda x, v: x * v[:, None],
    lambda x, v: x.T * v,
    lambda x, v: (x.T * v).T,
    lambda v, w: v[:, None] * w[None, :],
    lambda v, w: v[:, None] * w,
    lambda v, w: np.outer(v, w),
    lambda v, w: np.multiply.outer(v, w),
    lambda x: x - x.mean(axis=0),
    lambda x: (x - x.mean(0)) / x.std(0),
    lambda x: x - x.mean(axis=1, keepdims=True),
    lambda x: x - x[2],
    lambda x: x - x[2:3],
    lambda x: x[2] * x[4],
    lambda x: x.sum(axis=1),
    lambda x: x.sum(axis=0),
    lambda x: np.sum(x, axis=-1),
    lambda x: x.max(1) - x.min(),
    lambda x: np.exp(x) + np.log(x),
    lambda x: x @ np.ones((3, 2)),
    lambda x: np.ones((2, 6)) @ x,
    lambda x: x.T @ x,
    lambda x, z: x @ z.T,
    lambda x: x @ x[0],
    lambda x, z: np.einsum("ij,kj->ik", x, z),
    lambda x: np.einsum("ij->j", x),
    lambda x: np.einsum("ij->ji", x),
    lambda x, z: np.einsum("ij,ij->i", x, z),
    lambda x, v: np.dot(v, x),
    lambda x: np.dot(x, np.ones(3)),
    lambda x: x.dot(np.ones((3, 4))),
    lambda x, z: np.inner(x, z),
    lambda x: np.linalg.norm(x, axis=1),
    lambda x: np.linalg.norm(x, axis=0),
    lambda x: x / np.linalg.norm(x),
    lambda x: np.cumsum(x, axis=0),
    lambda x: np.cumsum(x, axis=1),
    lambda x: np.cumsum(x),
    lambda v: np.cumsum(v),
    lambda v: v.cumprod(),
    lambda v: np.add.accumulate(v),
    lambda x: np.diff(x, axis=0),
    lambda v: np.diff(v, n=2),
    lambda x: np.diff(x),
    lambda x: np.clip(x, 0.2, 0.8),
    lambda x: x.clip(0.2, 0.8),
    lambda x: x.round(3),
    lambda x: np.nan_to_num(x),
    lambda x, z: np.where(x > 0.5, x, z),
    lambda x, z: np.where(z > 0.5, x, 0),
    lambda x: np.where(x > 0.5, 1, 0),
    lambda x, z: np.select([x > 0.7, x > 0.3], [x, z], 0),
    lambda x, z: np.maximum(x, z),
    lambda x, z: np.isclose(x, z),
    lambda x: np.percentile(x, [10, 50], axis=1),
    lambda x: np.percentile(x, [10, 50], axis=0),
    lambda x: np.median(x, axis=1),
    lambda x: np.average(x, axis=1, weights=[1, 2, 3]),
    lambda x, v: np.average(x, axis=0, weights=v),
    lambda x: np.argmax(x, axis=1),
    lambda x: np.fft.fft(x, axis=1),
    lambda x: np.fft.fft(x, axis=0),
    lambda x: np.fft.rfft2(x),
    lambda x: np.linalg.svd(x)[0],
    lambda x: np.linalg.inv(x[:3]),
    lambda x: np.linalg.det(x[:, :, None] * x[:, None, :] + np.eye(3)),
    lambda x: np.linalg.inv(x[:, :, None] * x[:, None, :] + np.eye(3)),
    lambda x, v: np.column_stack([x, v]),
    lambda x, z: np.hstack([x, z]),
    lambda x, z: np.vstack([x, z]),
    lambda x, z: np.concatenate([x, z], axis=1),
    lambda x, z: np.stack([x, z]),
    lambda x, z: np.stack([x, z], axis=1),
    lambda x, z: np.dstack([x, z]),
    lambda v, w: np.stack([v, w], axis=1),
    lambda v, w: np.vstack([v, w]),
    lambda v, w: np.hstack([v, w]),
    lambda v, w: np.concatenate([v, w, [1, 2]]),
    lambda x: np.hstack([x, np.ones((6, 1))]),
    lambda x: np.vstack([x, np.ones((1, 3))]),
    lambda x: x.reshape(6, 3, 1),
    lambda x: x.reshape(-1),
    lambda x: x.reshape(9, 2),
    lambda x: x.ravel(),
    lambda x: x.flatten(),
    lambda x: x.T,
    lambda x: x.T.T,
    lambda x: x.swapaxes(0, 1),
    lambda x: np.moveaxis(x, 0, 1),
    lambda x: x[None],
    lambda x: x[:, None],
    lambda x: x[..., None],
    lambda x: np.expand_dims(x, 0),
    lambda x: np.squeeze(x[:, :1]),
    lambda x: x[::-1],
    lambda x: x[::2],
    lambda x: x[-1:0:-2],
    lambda x: x[1],
    lambda x: x[-1],
    lambda x: x[:, 1],
    lambda x: x[1:4, ::-1],
    lambda x: x[[3, 1, 1]],
    lambda x: x[np.array([-1, 0])],
    lambda x: x[[1, 2], [0, 1]],
    lambda x: x[:, [0, 2]],
    lambda x: x[..., 0],
    lambda x: x[np.array([[0, 1], [2, 3]])],
    lambda x: x[np.arange(6) % 2 == 0],
    lambda x: x[np.arange(6) % 2 == 0, 1],
    lambda x: np.take(x, [4, 0], axis=0),
    lambda x: x.take([4, 0], axis=0),
    lambda x: np.take(x, [2, 0], axis=1),
    lambda x: np.take(x, [4, 7]),
    lambda x: np.take(x, [40, -1], axis=0, mode="clip"),
    lambda x: np.roll(x, 2, axis=0),
    lambda x: np.roll(x, 1),
    lambda x: np.flip(x),
    lambda x: np.flipud(x),
    lambda x: np.fliplr(x),
    lambda x: np.rot90(x),
    lambda x: np.rot90(x, 2),
    lambda x: np.repeat(x, 2, axis=0),
    lambda x: np.repeat(x, [0, 1, 2, 0, 1, 0], axis=0),
    lambda x: np.repeat(x, 2),
    lambda x: np.tile(x, (2, 1)),
    lambda x: np.tile(x, (1, 2)),
    lambda x: np.delete(x, [1, 3], axis=0),
    lambda x: np.delete(x, 1, axis=1),
    lambda x: np.insert(x, 2, 9.0, axis=0),
    lambda x: np.insert(x, 1, 9.0, axis=1),
    lambda x: np.append(x, [[1, 2, 3]], axis=0),
    lambda x, z: np.append(x, z, axis=0),
    lambda x, z: np.append(x, z),
    lambda x: np.pad(x, 1),
    lambda x: np.pad(x, ((2, 1), (0, 0)), mode="edge"),
    lambda x: np.pad(x, 1, mode="mean"),
    lambda x: np.pad(x, ((2, 1), (0, 0)), mode="constant", constant_values=7.0),
    lambda x: np.resize(x, (4, 3)),
    lambda x: np.tril(x),
    lambda x: np.triu(x, 1),
    lambda v: np.diag(v),
    lambda x: np.diag(x),
    lambda x: np.diagonal(x),
    lambda x: np.split(x, 2)[1],
    lambda x: np.array_split(x, 4)[2],
    lambda x: np.hsplit(x, 3)[1],
    lambda x: np.broadcast_to(x[0], (4, 3)),
    lambda x: np.broadcast_arrays(x, np.ones((6, 1)))[0],
    lambda x: np.compress([True, False, True], x, axis=0),
    lambda x: np.extract(np.arange(18).reshape(6, 3) % 2 == 0, x),
    lambda x: np.atleast_3d(x),
    lambda v: np.atleast_2d(v),
    lambda v: np.meshgrid(v, np.arange(2.0))[0],
    lambda v: np.meshgrid(v, np.arange(2.0), indexing="ij")[0],
    lambda x: np.take_along_axis(x, np.array([[0, 1, 2]]), axis=0),
    lambda v: np.fft.fftshift(v),
    lambda x: np.block([[x], [x * 2]]),
    lambda x: np.choose(np.array([0, 1, 0]), [x[:, :], x * 2]),
    lambda x: np.astype(x, np.float32),
    lambda x: x.astype("f4"),
    lambda x: x.copy(),
    lambda x: np.copy(x),
    lambda x: np.asanyarray(x),
    lambda x: np.real(x),
    lambda x: (x + 1j * x).imag,
    lambda x: x.real,
    lambda x: x.view("i8"),
    lambda x: x.view("i4"),
    lambda v: v.view("i4"),
    lambda x: np.zeros_like(x),
    lambda x: np.cov(x),
    lambda x: np.corrcoef(x.T),
    lambda v: np.histogram(v)[0],
    lambda v: np.digitize(v, [0.2, 0.5]),
    lambda v, w: np.searchsorted(np.sort(v), w),
    lambda v, w: np.interp(v, np.sort(w), w),
    lambda v: np.polyval([1.0, 2, 3], v),
    lambda v: np.vander(v),
    lambda v: np.isin(v, [0.2, 0.5]),
    lambda v: np.gradient(v),
    lambda x: np.gradient(x, axis=1),
    lambda x: np.trapezoid(x, axis=1),
    lambda x: np.unwrap(x, axis=1),
    lambda x: np.apply_along_axis(np.sum, 1, x),
    lambda x: np.apply_along_axis(np.sort, 0, x),
    lambda v: np.convolve(v, [1, 2]),
    lambda x: np.kron(x, [[1, 2]]),
    lambda x: np.tensordot(x, np.ones((3, 2)), 1),
    lambda x: np.add.reduce(x, axis=1, keepdims=True),
    lambda x: np.add.reduceat(x, [0, 2], axis=1),
    lambda x: np.add.reduceat(x, [0, 2], axis=0),
    lambda v: np.modf(v)[0],
    lambda x: np.cross(x, [1.0, 2, 3]),
    lambda x: abs(x - 0.5),
    lambda x: x.argsort(axis=1),
    lambda x: x.var(axis=(1,)),
    lambda x: x[:, :, None].sum(axis=(1, 2)),
    lambda x: x.T.sum(axis=0),
    lambda x: x.T.mean(axis=1),
    lambda x: np.matmul(x[:, None, :], x[:, :, None]),
    lambda x, z: np.vecdot(x, z),
    lambda x: np.matvec(np.ones((2, 3)), x),
    lambda x: sum([x, x, x]),
    lambda x: sum(x),
    lambda x: np.sort(x, axis=1),
    lambda x: np.logical_and(x > 0.3, x < 0.9),
    lambda x: (x > 0.3) & (x < 0.9) | (x > 0.95),
    lambda x: ~(x > 0.3),
    lambda x: np.frexp(x)[0],
    lambda x: np.stack([x[0], x[3]]),
    lambda x: np.nanmean(x, axis=1),
    lambda x: np.cumulative_sum(x, axis=0),
    lambda x: np.unstack(x, axis=1)[1],
    lambda x: np.permute_dims(x, (1, 0)),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=0),
    lambda x: x.T.ravel("K"),
    lambda x: x[:, ::-1].T.ravel("K"),
    lambda x: np.broadcast_to(x[:, 0], (3, 6)).ravel("K"),
    lambda x: x.T.flatten("A"),
    lambda x: np.ravel(x.T, order="A"),
    lambda x: np.reshape(x.T, (9, 2), order="A"),
    lambda x: np.reshape(x, (9, 2), order="F"),
    lambda x: x[()],
    lambda x: np.einsum("ji", x),
    lambda x: np.median(x, axis=1, overwrite_input=True),
    lambda x: np.percentile(x, [10, 20, 30, 40, 50, 60], axis=1),
    lambda x: np.quantile(x, [0.1, 0.5], axis=1, keepdims=True)[0],
    lambda x: np.apply_along_axis(lambda row: np.outer(row, row), 1, x[:3]),
    lambda x: np.apply_along_axis(lambda row: np.outer(row, row), 1, x[:3])[:, :, 1],
    lambda x: np.apply_along_axis(lambda row: np.outer(row, row), 0, x[:3].T)[0],
    lambda v, w: np.interp(v, np.sort(w), v),
    lambda v: np.isin(v, v),
    lambda x: np.add.reduce(np.ones((2, 6, 3)), axis=1, where=x > 0.5),
]
"""Functions that change nothing."""

IN_PLACE = """
x[0]=5. -> x
x[0]=x[3] -> x
x[0,1]=5. -> x
x[0,1]=x[3,1] -> x
x[1:3]=x[3:5] -> x
x[:,0]=0. -> x
x[:,0]=x[:,1] -> x
x[:,0]=x[::-1,1] -> x
x[:]=1. -> x
x[...]=z -> x
x[:]=z[::-1] -> x
x[x>2]=0. -> x
x[[0,0,1]]=z[[1,2,3]] -> x
v[[0,0,1]]=w[[1,2,3]] -> v
v[2:4]=w[:2] -> v
x[2]=v[:3] -> x
x[:]=v[:3] -> x
x[:]=x[2] -> x
x+=1 -> x
x+=z -> x
x-=x.mean(0) -> x
x*=v[:,None] -> x
x[1:]+=x[:-1] -> x
v[::2]*=w[:3] -> v
np.add(x,z,out=x) -> x
np.add(x,z,out=z) -> z
np.multiply(x[:3],2,out=z[3:]) -> z
np.exp(z,out=x,where=z>2) -> x
np.copyto(x,z) -> x
np.copyto(x,z[2]) -> x
np.copyto(x,z,where=np.arange(18).reshape(6,3)%2==0) -> x
np.copyto(x[2:4],z[:2]) -> x
np.put(v,[0,3],w[:2]) -> v
np.put(x,[0,4],[1.,2.]) -> x
np.place(v,np.arange(6)>3,w[:2]) -> v
np.putmask(v,np.arange(6)>3,w) -> v
np.put_along_axis(x,np.array([[0],[1],[2],[0],[1],[2]]),9.,1) -> x
np.fill_diagonal(x,7.) -> x
x.fill(3.) -> x
v.put([1,2],w[4:]) -> v
y=x[1:4]; y[:]=z[:3] -> x
y=x.T; y[0]=z[:,0] -> x
y=x.reshape(-1); y[:3]=v[:3] -> x
y=x.reshape(9,2); y[0]=0. -> x
y=x[::-1]; x[0]=z[1] -> y
y=x[2]; x[2]=z[4] -> y
y=x[2]; y[:]=z[4] -> x
y=x.reshape(9,2); x[0]=z[1] -> y
y=x.ravel(); y[0]=5. -> x
y=x.copy(); y[0]=z[3] -> x
y=x*1; x[0]=z[3] -> y
x[[0,1]]=x[[1,0]] -> x
x[[0,5],:2]=x[[5,0],:2] -> x
x[0],x[1]=x[1].copy(),x[0].copy() -> x
x.shape=(3,6) -> x
x.shape=(6,3,1) -> x
v.shape=(2,3) -> v
np.cumsum(x,axis=0,out=z) -> z
np.take(x,[1,1,2,2,3,3],axis=0,out=z) -> z
np.sum(x,axis=1,out=v) -> v
x.sum(axis=1,out=v) -> v
np.clip(x,0,1,out=x) -> x
np.concatenate([x[:3],z[:3]],out=x) -> x
np.matmul(x,np.eye(3),out=z) -> z
np.add.at(v,[0,0,1],1.) -> v
np.add.at(v,[0,0,1],w[:3]) -> v
np.add.at(v,[1,2,3,4,5,0],v) -> v
y=np.nan_to_num(x,copy=False); y[0]=z[2] -> x
y=x[()]; y[0]=z[2] -> x
y=x.T.ravel('K'); x[0]=z[3] -> y
y=np.einsum('ij->ji',x); x[0]=z[5] -> y
y=np.einsum('ij->ji',x); y[0,1]=w[3] -> x
y=np.lib.stride_tricks.sliding_window_view(v,3); v[2]=7. -> y
y=np.empty_like(x); y[:]=x[::-1] -> y
y=np.zeros_like(v); y[2]=v[1]*2; y[3]=v[4] -> y
y=np.zeros_like(x); y[:3]=x[3:] -> y
x.real[1]=3. -> x
x.imag[0]=1. -> x
x.flags.writeable=False; x[0]=1 -> x
np.broadcast_to(x[0],(4,3))[0]=1 -> x
np.diagonal(x)[0]=1 -> x
y=np.diff(x,n=0); y[0]=z[1] -> x
x @= np.eye(3) -> x
x.T[:]=z.T -> x
x[:,None][2]=z[3] -> x
x[2:3][0]=z[4] -> x
x.byteswap(True) -> x
y=np.ones((6,3)); y=y+x -> y
x[0]=np.arange(3.) -> x
x[:]=np.arange(18.).reshape(6,3) -> x
x[:,1]=np.arange(6.) -> x
x[:2]=[[1,2,3],[4,5,6]] -> x
x[7]=1 -> x
x[:2]=np.ones(5) -> x
""".strip().splitlines()
"""Statements that write, and the array to look at then."""

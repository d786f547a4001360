"""Every real netCDF file is tried: it goes in bit for bit, or is refused with one clear line and no trace."""
import json
import os
import pathlib

import netCDF4
import numpy as np
import pytest
from conftest import DATA, Cube, assert_same, find, real

FOLDERS = ("era5", "climate", "netcdf_edge")

# Ingested: file -> (grid, variables that must be there). "own": a store made by create --grid-from FILE.
INGESTED = {
    "era5/cfgrib_scalar_coords_t2m.nc": ("own", ["t2m"]),
    "era5/era5_t2m_uk_2019-03_hourly.legacy.nc": ("wgs84-0p25", ["t2m"]),
    "era5/legacy_pl_tuv_2lev.nc": ("own", ["t", "u", "v"]),
    "era5/legacy_pl_tz_global1deg.nc": ("own", ["t", "z"]),
    "era5/legacy_repacked_scalar_time.nc": ("wgs84-0p25", ["u10", "v10", "d2m", "t2m", "sp", "t2m_C", "d2m_C"]),
    "era5/legacy_sl_u10_v10_t2m_sst.nc": ("wgs84-0p25", ["u10", "v10", "t2m", "sst"]),
    "era5/legacy_t2m_1.nc": ("own", ["t2m"]),
    "era5/newcds_era5land_2x2_1998_01-04.nc": ("wgs84-0p1", ["tp", "t2m", "ssrd"]),
    "era5/newcds_era5land_2x2_1999_01.nc": ("wgs84-0p1", ["tp", "t2m", "ssrd"]),
    "era5/newcds_sl_data_stream-oper_stepType-instant.nc": ("own", ["u10", "v10"]),
    "era5/newcds_static_z_lsm_slt_global025.nc": ("wgs84-0p25", ["z", "lsm", "slt"]),
    "climate/landsea.nc": ("own", ["LSMASK"]),
}

# Refused: file -> (exit code, parts of the line that says why).
NO_GRID = "no latitude-longitude grid"
REFUSED = {
    "era5/REFERENCE_newcds_pressure_levels_header.cdl.txt": (2, ["CDL", "ncgen"]),
    "era5/era5_daily_5cities_string_location.nc": (2, ["location", NO_GRID]),
    "era5/era5_t2m_uk_2019-03_hourly.grib": (2, ["GRIB"]),
    "era5/newcds_era5land_2x2_1999_01.grib": (2, ["GRIB"]),
    # one point, 51.391 N 11.879 E, that stands on no lattice of ERA5 or ERA5-Land
    "era5/newcds_era5land_point_1999_01.nc": (2, ["51.391", "--regrid"]),
    "climate/T2m.nc": (2, ["time", "yyyymm"]),
    "climate/absolute.nc": (2, ["time", '"months"']),
    "climate/eraint_uvz.nc": (2, ["month", "no units"]),
    "climate/hgt.nc": (2, ["time", "months since 1958-1-1"]),
    "climate/nc4uvt.nc": (2, ["time", "Month"]),
    "climate/nrcan_1950-2013.nc": (2, ["location", NO_GRID]),
    "climate/o3_Amon_GFDL-ESM4_historical_r1i1p1f1_gr1_185001-194912.nc": (2, ['calendar "noleap"']),
    "climate/sst.nc": (2, ["TIME", "30.440000534057617", "whole second"]),
    "climate/tas_Amon_HadGEM2-ES_rcp85_r1i1p1_200512-203011.nc": (2, ['calendar "360_day"']),
    "climate/tasmax_day_CanESM2_rcp85_r1i1p1_na10kgrid_qm-moving-50bins-detrend_2095.nc": (2, ['calendar "365_day"']),
    "climate/tiny.nc": (2, ["dim_0", NO_GRID]),
    "climate/ts.nc": (2, ["(time, lev, lat)", NO_GRID]),
    "netcdf_edge/bad_cdf5_begin.nc": (3, ["220"]),
    "netcdf_edge/nctest_netcdf4_classic.nc": (2, [NO_GRID]),
    "netcdf_edge/ref_hdf5_compat1.nc": (2, [NO_GRID]),
    # two latitudes, the poles, and four longitudes, in a sea of tests of operators
    "netcdf_edge/ref_nccopy3_subset.nc": (2, ["degree", "--grid-from"]),
    "netcdf_edge/ref_nctest_64bit_offset.nc": (2, [NO_GRID]),
    "netcdf_edge/ref_null_byte_padding_test.nc": (2, ["no raster variable"]),
    "netcdf_edge/ref_szip.h5": (2, ["HDF5", NO_GRID]),
    "netcdf_edge/ref_test_365_day_1900.nc": (2, ["no raster variable"]),
    "netcdf_edge/ref_tst_compounds.nc": (2, [NO_GRID]),
    "netcdf_edge/tdset.h5": (2, ["HDF5", NO_GRID]),
}


def test_the_table_names_every_file():
    real("era5/era5_t2m_uk_2019-03_hourly.legacy.nc")
    there = {f"{d}/{p.name}" for d in FOLDERS for p in (DATA / d).iterdir() if p.is_file()}
    assert there == set(INGESTED) | set(REFUSED)
    assert not set(INGESTED) & set(REFUSED)


def store_for(bct, folder, file, grid):
    args = ["--grid-from", real(file)] if grid == "own" else ["--grid", grid]
    return bct.create(folder / "s.bcube", *args)


def box_of(cube):
    """A box around the columns of a cube; one that wraps is asked for whole."""
    if np.ptp(cube.lon) > 300:
        return f"-180,{float(cube.lat[-1])!r},180,{float(cube.lat[0])!r}"
    return ",".join(repr(float(x)) for x in (cube.lon[0], cube.lat[-1], cube.lon[-1], cube.lat[0]))


def compare(bct, store, row, file):
    """One variable of the store against the file; returns the number of values compared."""
    cube = Cube(file, row["name"])
    name = f"{row['group']}/{row['name']}"
    got = bct.npz(store, "--var", name, f"--bbox={box_of(cube)}")
    values = got[next(k for k in got if k not in ("time", "level", "latitude", "longitude", "attrs"))]
    assert np.allclose(got["latitude"], cube.lat, atol=1e-4), name
    assert np.allclose(got["longitude"], cube.lon, atol=1e-4), name
    if row["static"]:
        assert "time" not in got and cube.values.shape[0] == 1
    else:
        assert np.array_equal(got["time"], cube.time), name
    if cube.level is not None:
        assert np.allclose(got["level"], cube.level), name
    assert_same(values.reshape(cube.values.shape), cube.values, name)
    assert row["units"] == cube.units
    return values.size


@pytest.mark.parametrize("name", sorted(INGESTED))
def test_ingested_bit_for_bit(bct, tmp_path, name):
    grid, variables = INGESTED[name]
    file = real(name)
    store = store_for(bct, tmp_path, name, grid)
    report = bct.report(store, file)
    assert report["files"] == 1 and report["files_refused"] == 0
    rows = bct.json("ls", store)
    assert sorted(r["name"] for r in rows) == sorted(variables)
    assert sum(compare(bct, store, row, file) for row in rows) > 0
    assert bct.json("verify", store, "--full")["damaged"] == 0


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_and_the_store_unchanged(bct, mkcube, tmp_path, name):
    code, said = REFUSED[name]
    file = real(name)
    store = bct.create(tmp_path / "s.bcube", "--grid", "wgs84-0p25")
    bct.ingest(store, mkcube(tmp_path / "x.nc", "--var", "t2m", "--bbox", "0,40,2,42", "--to", "2020-01-01"))
    before = bct.state(store)
    bct.refused("ingest", "netcdf", store, file, code=code, said=[*said, pathlib.Path(name).name])
    assert bct.state(store) == before
    assert bct.json("verify", store, "--full")["damaged"] == 0


@pytest.mark.parametrize("name", sorted(n for n in REFUSED if n.startswith("climate/")))
def test_own_grid_does_not_make_a_wrong_calendar_right(bct, tmp_path, name):
    """A file is refused for what it is, not only for standing off the lattice of ERA5."""
    file = real(name)
    made = bct.run("create", tmp_path / "s.bcube", "--grid-from", file, code=None)
    assert made.returncode in (0, 2, 3), made.stderr
    if made.returncode == 0:
        bct.refused("ingest", "netcdf", tmp_path / "s.bcube", file, code=2, said=pathlib.Path(name).name)
        assert bct.json("ls", tmp_path / "s.bcube") == []
    else:
        assert not os.path.exists(tmp_path / "s.bcube")


# ---- the numbers promised for two files ----

def test_uk_month_shape_bits_and_size(bct, tmp_path):
    file = real("era5/era5_t2m_uk_2019-03_hourly.legacy.nc")
    store = bct.create(tmp_path / "uk.bcube")
    bct.ingest(store, file)
    out = tmp_path / "t2m.npy"
    bct.run("query", store, "--var", "t2m", "--bbox", "-10,50,2,58", "--time", "2019-03", "-o", out)
    got = np.load(out)
    with netCDF4.Dataset(file) as ds:
        v = ds["t2m"]
        v.set_auto_maskandscale(False)
        packed = v[:]
        expected = (packed * np.float64(v.scale_factor) + np.float64(v.add_offset)).astype(np.float32)
        assert ds["latitude"][0] > ds["latitude"][-1]
    assert got.shape == (744, 33, 49) and got.dtype == np.float32 and got.flags.c_contiguous
    assert_same(got, expected, "t2m")
    stored = sum(r["stored_bytes"] for r in bct.json("ls", store))
    ratio = stored / packed.nbytes
    print(f"tiles take {ratio:.3f} of the int16 payload")
    assert ratio <= 0.70


def test_new_wind_file_size(bct, tmp_path):
    file = real("era5/newcds_sl_data_stream-oper_stepType-instant.nc")
    store = store_for(bct, tmp_path, "era5/newcds_sl_data_stream-oper_stepType-instant.nc", "own")
    bct.ingest(store, file)
    stored = sum(r["stored_bytes"] for r in bct.json("ls", store))
    ratio = stored / file.stat().st_size
    print(f"tiles take {ratio:.3f} of the netCDF file")
    assert ratio <= 0.62


def test_uk_month_in_a_store_of_its_own_grid_and_in_raw(bct, tmp_path):
    """The same values by every codec and layout."""
    file = real("era5/era5_t2m_uk_2019-03_hourly.legacy.nc")
    expected = Cube(file, "t2m").values[:, 0]
    for i, args in enumerate([["--codec", "raw"], ["--codec", "zstd:9"], ["--layout", "map"], ["--layout", "series"],
                              ["--layout", "map+series"], ["--threads", "2"], ["--memory", "64M"]]):
        store = bct.create(tmp_path / f"{i}.bcube", "--grid-from", file, *(["--cell", "full"] if i == 0 else []))
        bct.ingest(store, file, args=args)
        assert_same(bct.npy(store, "--var", "t2m"), expected, str(args))


def test_real_files_say_where_they_come_from(bct, tmp_path):
    file = real("era5/newcds_sl_data_stream-oper_stepType-instant.nc")
    store = bct.create(tmp_path / "s.bcube", "--grid-from", file)
    bct.ingest(store, file)
    row = next(r for r in bct.json("ls", store) if r["name"] == "u10")
    assert row["attributes"]["long_name"] == "10 metre U wind component"
    assert row["units"] == "m s**-1" and row["dtype"] == "float32"
    assert row["first"].startswith("2025-11-04T00:00") and row["last"].startswith("2025-11-04T23:00")
    with netCDF4.Dataset(file) as ds:
        assert find(ds, "u10")[1].long_name == row["attributes"]["long_name"]
    assert json.dumps(row)

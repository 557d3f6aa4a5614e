"""PNG, JPG, TIF, GIF, BMP."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from imaging import ImageError, Volume, axis_codes, read_grid, read_label, read_volume, write_volume
from imaging.volume import picture_affine


def picture(array):
    return Volume(array, picture_affine(), has_geometry=False)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize(("channels", "dtype"), [((), np.uint8), ((3,), np.uint8), ((), np.uint16), ((3,), np.uint16)])
def test_what_is_written_is_read_back(tmp_path, rng, suffix, channels, dtype):
    x = rng.integers(0, np.iinfo(dtype).max, (1, 5, 7, *channels), endpoint=True).astype(dtype)
    if suffix == ".bmp" and dtype == np.uint16:
        with pytest.raises(ImageError, match="uint16"):
            write_volume(tmp_path / "a.bmp", picture(x))
        return
    path = write_volume(tmp_path / f"a{suffix}", picture(x))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, x)
    assert volume.array.dtype == dtype and not volume.has_geometry and volume.spacing_mm == (1, 1, 1)
    assert read_grid(path).shape == (1, 5, 7)


def test_pictures_are_in_canonical_orientation_already(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    assert axis_codes(read_volume(tmp_path / "a.png").affine) == "SPL"


def test_colours_are_red_green_blue(tmp_path):
    for name in ("a.png", "a.bmp", "a.tif", "a.gif", "p.png"):
        image = Image.new("RGB", (2, 2), (200, 100, 0))
        (image.quantize(4) if name in ("a.gif", "p.png") else image).save(tmp_path / name)
        assert read_volume(tmp_path / name).array[0, 0, 0].tolist() == [200, 100, 0], name
    Image.new("RGB", (8, 8), (200, 100, 0)).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(read_volume(tmp_path / "a.jpg").array[0, 0, 0], [200, 100, 0], atol=3)


def test_opaque_alpha_is_dropped_and_other_alpha_kept(tmp_path):
    Image.new("RGBA", (2, 2), (1, 2, 3, 255)).save(tmp_path / "opaque.png")
    Image.new("RGBA", (2, 2), (1, 2, 3, 254)).save(tmp_path / "clear.png")
    assert read_volume(tmp_path / "opaque.png").array.shape == (1, 2, 2, 3)
    assert read_volume(tmp_path / "clear.png").array[0, 0, 0].tolist() == [1, 2, 3, 254]


def test_grey_with_opaque_alpha_loses_it(tmp_path):
    Image.new("LA", (2, 2), (9, 255)).save(tmp_path / "a.png")
    volume = read_volume(tmp_path / "a.png")
    assert np.unique(volume.array).tolist() == [9] and read_label(tmp_path / "a.png").array.shape == (1, 2, 2)


def test_one_bit_is_zero_and_one(tmp_path):
    x = np.array([[True, False], [False, True]])
    for name in ("a.png", "a.tif"):
        Image.fromarray(x).save(tmp_path / name)
        assert read_label(tmp_path / name).array[0].tolist() == [[1, 0], [0, 1]], name


def png_chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize("bits", [2, 4])
def test_few_bits_are_not_stretched(tmp_path, bits):
    # Written by hand: neither Pillow nor OpenCV writes a grey PNG of so few bits.
    x = np.array([[0, 1, 2, 3]], np.uint8)
    packed = np.packbits(np.unpackbits(x.T, axis=1)[:, -bits:].ravel()).tobytes()
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0))
    content = png_chunk(b"IDAT", zlib.compress(b"\0" + packed)) + png_chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + content)
    assert read_label(tmp_path / "a.png").array.ravel().tolist() == [0, 1, 2, 3]


def test_a_palette_label_is_its_indices_and_an_image_its_colours(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.putdata([0, 1, 2])
    for name in ("a.png", "a.gif", "a.tif"):
        image.save(tmp_path / name)
        assert read_label(tmp_path / name).array.ravel().tolist() == [0, 1, 2], name
        assert read_volume(tmp_path / name).array[0, 0].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0]], name


def test_a_grey_palette_is_grey(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "a.gif")
    assert read_volume(tmp_path / "a.gif").array.ravel().tolist() == [0, 255]


@pytest.mark.parametrize("channels", [(), (3,)])
def test_tif_pages_are_slices(tmp_path, rng, channels):
    x = rng.integers(0, 60000, (4, 5, 6, *channels)).astype(np.uint16)
    path = write_volume(tmp_path / "a.tif", picture(x))
    np.testing.assert_array_equal(read_volume(path).array, x)
    assert read_grid(path).shape == (4, 5, 6)


def test_tif_channels_may_come_first(tmp_path):
    x = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    tifffile.imwrite(tmp_path / "a.tif", x, imagej=True, metadata={"axes": "ZCYX"})
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").array, np.moveaxis(x, 1, -1))


def test_a_tif_thumbnail_is_not_a_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.full((8, 8), 7, np.uint8))
        file.write(np.zeros((2, 2), np.uint8), subfiletype=1)
    assert read_volume(tmp_path / "a.tif").array.shape == (1, 8, 8)


def test_tif_pages_of_different_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((8, 8), np.uint8))
        file.write(np.zeros((4, 8), np.uint8))
    with pytest.raises(ImageError, match="different sizes"):
        read_volume(tmp_path / "a.tif")


def test_lzw_and_float_tifs_are_read(tmp_path, rng):
    x = rng.integers(0, 255, (8, 9, 3)).astype(np.uint8)
    Image.fromarray(x).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_volume(tmp_path / "lzw.tif").array[0], x)
    tifffile.imwrite(tmp_path / "f.tif", rng.normal(size=(4, 5)))
    assert read_volume(tmp_path / "f.tif").array.dtype == np.float32


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".gif"])
def test_truncated_files_are_refused(tmp_path, rng, suffix, capfd):
    x = rng.integers(0, 255, (64, 64)).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(x).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=f"a\\{suffix}: "):
        read_volume(path)
    assert capfd.readouterr().err == ""


def test_cmyk_is_refused(tmp_path):
    Image.new("CMYK", (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="colour space"):
        read_volume(tmp_path / "a.tif")


def test_a_colour_label_is_refused_and_grey_rgb_accepted(tmp_path):
    Image.new("RGB", (2, 2), (1, 2, 3)).save(tmp_path / "colour.png")
    Image.new("RGB", (2, 2), (2, 2, 2)).save(tmp_path / "grey.png")
    with pytest.raises(ImageError, match=r"colour\.png: has 3 different channels"):
        read_label(tmp_path / "colour.png")
    assert read_label(tmp_path / "grey.png").array.ravel().tolist() == [2, 2, 2, 2]


def test_several_slices_do_not_fit_a_png_and_labels_not_a_jpg(tmp_path):
    with pytest.raises(ImageError, match="one slice, not 2"):
        write_volume(tmp_path / "a.png", picture(np.zeros((2, 3, 3), np.uint8)))
    with pytest.raises(ImageError, match="JPG changes label values"):
        write_volume(tmp_path / "a.jpg", picture(np.zeros((1, 3, 3), np.uint8)), labels={1: "x"})


def test_opencv_reads_what_is_written(tmp_path):
    write_volume(tmp_path / "a.png", picture(np.full((1, 2, 2, 3), (200, 100, 0), np.uint8)))
    assert cv2.imread(str(tmp_path / "a.png"))[0, 0].tolist() == [0, 100, 200]

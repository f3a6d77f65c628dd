"""The ZIP files of KorQuAD 2.1: their names, git blob ids and sizes in the organisers' repository."""

from __future__ import annotations

from komrc.download import RemoteFile

KORQUAD_V2_1_URL = "https://raw.githubusercontent.com/korquad/korquad.github.io/master/dataset/KorQuAD_2.1/"

# The ids are those of the organisers' repository since 22 October 2019. The training part of 38,496 pages has
# 83,486 questions, the development part of 4,736 pages has 10,165.
KORQUAD_V2_1: dict[str, tuple[RemoteFile, ...]] = {
    "train": (
        RemoteFile("KorQuAD_2.1_train_00.zip", "88328a2f9c4f196786eab52f4ea598439887e8c0", 96_161_084),
        RemoteFile("KorQuAD_2.1_train_01.zip", "edc00ed4d0e45104930ada22fa5869b0d7f4e17e", 92_163_603),
        RemoteFile("KorQuAD_2.1_train_02.zip", "a2273272f976e7da36ee004db8b1686128594bd7", 91_681_447),
        RemoteFile("KorQuAD_2.1_train_03.zip", "31a4729443d3425d3ff368d128044148961dade1", 94_792_676),
        RemoteFile("KorQuAD_2.1_train_04.zip", "d3029960e99a0948154a1b9be6f780275161ad7f", 94_470_762),
        RemoteFile("KorQuAD_2.1_train_05.zip", "35ed708e5b73af4bb800649d69825469ec2f7851", 93_427_959),
        RemoteFile("KorQuAD_2.1_train_06.zip", "a673615f8cc94c28c3adc850bb66c757e9b3e41e", 93_224_892),
        RemoteFile("KorQuAD_2.1_train_07.zip", "83ed111e5a6f78a581b0c228c3a2812fdf34031b", 92_550_803),
        RemoteFile("KorQuAD_2.1_train_08.zip", "7664a5c72c8ed552599774ba7476f613f3de09a3", 93_684_404),
        RemoteFile("KorQuAD_2.1_train_09.zip", "ed81f94099f540787571b378493813009a1de947", 94_028_022),
        RemoteFile("KorQuAD_2.1_train_10.zip", "7c41f6f8c6d7c64dc48c092d34abfec61a8447fe", 93_432_479),
        RemoteFile("KorQuAD_2.1_train_11.zip", "f9c56f68b9c1313a89cc8cd7a55649b1fa210119", 94_500_610),
        RemoteFile("KorQuAD_2.1_train_12.zip", "110332e1cef6068386bed56b587881ef1de177a9", 99_301_520),
    ),
    "dev": (
        RemoteFile("KorQuAD_2.1_dev_00.zip", "60724538158c89880c9a46c4f107bafaaffeeb14", 93_536_216),
        RemoteFile("KorQuAD_2.1_dev_01.zip", "5f89dc1f148f72902f5ceea33024b179b923b64a", 56_806_828),
    ),
}

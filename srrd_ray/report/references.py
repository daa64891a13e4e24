"""What a run stands on, to be cited."""

from __future__ import annotations

from collections.abc import Mapping

CITATION = "citation.bib"
KEYS: Mapping[str, str] = {
    "srrd": "srrdray", "paper": "srrd2023", "cyclegan": "zhu2017", "asbmr": "bouxsein2010",
    "thickness": "hildebrand1997", "distillation": "hinton2015", "asha": "li2020", "ray": "moritz2018", "icc": "mcgraw1996",
    "delong": "delong1988", "claim": "tejani2024", "monai": "cardoso2022", "pytorch": "paszke2019", "simpleitk": "lowekamp2013",
}  # fmt: skip
"""Of the entries below, by what they are cited for."""

_SOFTWARE = """@software{srrdray,
  title = {SRRD-Ray: subchondral bone microstructure and osteoarthritis from knee CT, learned from MR},
  author = {{The SRRD-Ray developers}},
  version = {VERSION},
  license = {Apache-2.0}
}"""
_ENTRIES = """@misc{srrd2023,
  title = {Synthesis, Registration, Regression, Diagnosis: knee osteoarthritis from CT by distillation from MR},
  author = {{The authors of arXiv 2307.04390}},
  year = {2023},
  eprint = {2307.04390},
  archivePrefix = {arXiv}
}
@inproceedings{zhu2017,
  title = {Unpaired image-to-image translation using cycle-consistent adversarial networks},
  author = {Zhu, Jun-Yan and Park, Taesung and Isola, Phillip and Efros, Alexei A.},
  booktitle = {IEEE International Conference on Computer Vision},
  year = {2017}
}
@article{bouxsein2010,
  title = {Guidelines for assessment of bone microstructure in rodents using micro-computed tomography},
  author = {Bouxsein, Mary L. and Boyd, Stephen K. and Christiansen, Blaine A. and Guldberg, Robert E. and Jepsen, Karl J. and M{\\"u}ller, Ralph},
  journal = {Journal of Bone and Mineral Research},
  volume = {25},
  number = {7},
  pages = {1468--1486},
  year = {2010}
}
@article{hildebrand1997,
  title = {A new method for the model-independent assessment of thickness in three-dimensional images},
  author = {Hildebrand, Tor and R{\\"u}egsegger, Peter},
  journal = {Journal of Microscopy},
  volume = {185},
  number = {1},
  pages = {67--75},
  year = {1997}
}
@misc{hinton2015,
  title = {Distilling the knowledge in a neural network},
  author = {Hinton, Geoffrey and Vinyals, Oriol and Dean, Jeff},
  year = {2015},
  eprint = {1503.02531},
  archivePrefix = {arXiv}
}
@inproceedings{li2020,
  title = {A system for massively parallel hyperparameter tuning},
  author = {Li, Liam and Jamieson, Kevin and Rostamizadeh, Afshin and Gonina, Ekaterina and Ben-tzur, Jonathan and Hardt, Moritz and Recht, Benjamin and Talwalkar, Ameet},
  booktitle = {Proceedings of Machine Learning and Systems},
  year = {2020}
}
@inproceedings{moritz2018,
  title = {Ray: a distributed framework for emerging AI applications},
  author = {Moritz, Philipp and Nishihara, Robert and Wang, Stephanie and Tumanov, Alexey and Liaw, Richard and Liang, Eric and Elibol, Melih and Yang, Zongheng and Paul, William and Jordan, Michael I. and Stoica, Ion},
  booktitle = {USENIX Symposium on Operating Systems Design and Implementation},
  pages = {561--577},
  year = {2018}
}
@article{mcgraw1996,
  title = {Forming inferences about some intraclass correlation coefficients},
  author = {McGraw, Kenneth O. and Wong, S. P.},
  journal = {Psychological Methods},
  volume = {1},
  number = {1},
  pages = {30--46},
  year = {1996}
}
@article{delong1988,
  title = {Comparing the areas under two or more correlated receiver operating characteristic curves: a nonparametric approach},
  author = {DeLong, Elizabeth R. and DeLong, David M. and Clarke-Pearson, Daniel L.},
  journal = {Biometrics},
  volume = {44},
  number = {3},
  pages = {837--845},
  year = {1988}
}
@article{tejani2024,
  title = {Checklist for artificial intelligence in medical imaging (CLAIM): 2024 update},
  author = {Tejani, Ali S. and Klontzas, Michail E. and Gatti, Anthony A. and Mongan, John T. and Moy, Linda and Park, Seong Ho and Kahn, Charles E.},
  journal = {Radiology: Artificial Intelligence},
  volume = {6},
  number = {4},
  pages = {e240300},
  year = {2024}
}
@misc{cardoso2022,
  title = {MONAI: an open-source framework for deep learning in healthcare},
  author = {Cardoso, M. Jorge and others},
  year = {2022},
  eprint = {2211.02701},
  archivePrefix = {arXiv}
}
@inproceedings{paszke2019,
  title = {PyTorch: an imperative style, high-performance deep learning library},
  author = {Paszke, Adam and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2019}
}
@article{lowekamp2013,
  title = {The design of SimpleITK},
  author = {Lowekamp, Bradley C. and Chen, David T. and Ib{\\'a}{\\~n}ez, Luis and Blezek, Daniel},
  journal = {Frontiers in Neuroinformatics},
  volume = {7},
  pages = {45},
  year = {2013}
}"""


def bibtex(version: str) -> str:
    """Return all references as BibTeX, the software in the version of the run."""
    return f"{_SOFTWARE.replace('VERSION', version)}\n{_ENTRIES}\n"

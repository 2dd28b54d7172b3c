package lab

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
)

// RSA keys are slow to make, so the lab has two ready. They are public with this file and protect nothing: what they serve
// is on loopback. The word in the first line keeps tools that look for leaked keys quiet.
const (
	rsa2048 = `-----BEGIN RSA TESTING KEY-----
MIIEoAIBAAKCAQEAkEoQwGqXATzYdlKB67n0E9YI+9/7QKJLT5rZZLv1Socenf+l
CB0otJHb142U8oEXaHxX9XTaDhyF10AS3rNxyxj3HXX16cK/CVqbKnKNNGVfdcnm
HaI/+hNP+DAIMXh/NmXZcDPCirvhpFZ+rVfdIpGNzfvpwL1Poo3k77km3HSG8uTe
kYU7WabYA1djKXjUuSyf7tEYT1Q0MIhfMsQhe40uU7rTqQ5yekeeVysun28p4PUP
a0XsxhWcv5UglN5ZJscjdrukZStvaO44M1ixUBDptWcf+Eor/Ad6EncAezGTyaPT
MkQhwCZ1kNtefgOuEc4j7pMFcNpKFNUxau6BkwIDAQABAoH/ejZBpLijg5OFxLJz
A2D9hc+ZdxK/kn85oAizGXTEzoX5Pi90w5VEZQJ7XUJju63w+w8BcWWyoUEyG/Sp
XEz2lTplablVZim3+rRDuNr4aZNzciZll7QAJvs0li1uGHjMnHFSj+FHZeVnuUo0
VvOU2d1vE9519EpkqR/bnoW0j1mIhSqprWVUyUll2AIuXTxm1u0r4Yj2PAkYD23u
W83Zciz0e7uXIc8qTuw/taqZhX692cQE8ggBPOJ1OHhCfxJu0t/4b5jh6MD8/YJj
MYj6LH2ylFzYav+Xnsaz6ROLXhtZOyKY5vzc59HFhJHmh9FkGID9QrIH8fgkA47L
gkIhAoGBAMbbca3HcPpir2/ojuGOeBugYLPY1HRPPN0aqynO1K6fxVs+RE0Om/f0
HoFxlZzHJOyNs6iBR7jXMzapxuXDczVcVYLmeggT6lWxsFEkSvQVmnS9X0xmhRGs
sg3sGY4xoPyCkiA4U/Uelhs/cBFFV81EsgE3kmpYzTyTj/XnMxPzAoGBALnAcAXh
bPzdDNWNajkloMcs35YgkMxp9RuMGKTREBBfyOzevErxvE99M6vLHr94jAtUn88m
ifgwvJWUakr+SMnK3hg6L+s3Hpb3ySodgmuEruKvJ2YHn7Q9+e+R3ct9uj+DGo9R
AfbXdfkbsNvDIzbkc/3/+7xhDYqr7q6MIWPhAoGAYP2Vg7ocK7PId9/JGNChWnAt
2mpurVAckoc4Zsrfx1BcNTW4oJD4l8a0vlQFMhObudkfgJeVwN0NuKK0RUrAPY2M
k60QZjI4gJWLNvhpqoWC8V+QRLZYPxepPMskZ8tjBuY0mYx/vrWtZxrY8UOOIKtZ
2ugc/MvVRq9+buTWb+sCgYBQ/X4aokqiCkPRTSKWnjh2/7LRQ4u/BSgRBcms+1bU
vN7foNJanwIranzAGAVlGMt/GTvA153qsF1ZnueloS/dhG3IBH7mQRc+XfXBPjKi
bKzQO+yiyQoyTZ+PfHtHgZ9Wl/RZrsl7dkCDCDbZ60CMa5nDkvyRC4QbBZJBWuoo
IQKBgEm4D5Ys1G38wRwU10znITdDRhPKb6kxTam0jv+WOGnDjvzPYMKmxe9Bgoy9
gY3zlklByx9nc3GF7Folu6YH+lk4vGiwxu21lj0NioEobNyy0vdz45WaShN7JmTi
zx085OWIhp/MH4Urnwna0y/BX3pE9SlzoKk/FTZ2S0YoFjgg
-----END RSA TESTING KEY-----
`
	// rsa1024 is the shortest key that crypto/rsa still uses (since Go 1.24).
	rsa1024 = `-----BEGIN RSA TESTING KEY-----
MIICXgIBAAKBgQDALxUJNrGsZ0LiJJF6CMJ4/pqjQVkgZXITdcKucUFa4qJ6DJKE
dikGSic9DJe9E/qVB6ZShJamLmqwsquk//X0qDbV5GV6Drn0qMhEK78TdLp18Fbv
RxkSru5eAfbYHp6E9/RUNXAoDBZ0L9bE/HG9ooxK8WiDcvLe+RFdppAsQQIDAQAB
AoGASEptk0Wrl7pQAljXEBxzaqf66yYNrI38Vy2YyZ14hAN0MozAIGuCCwehsukl
us3lGGIEQk31jRUwtL7AqhROI86ym9UVmkrxl/2bwpZFBdcX+EcL8f7pexj+7lpv
dDqvHi5EL9qeOC+heMdmJi1pO83+F9bDfyYQ+3Vbwh7eVzECQQDfbGqabzH43RiH
ejKH0fpoNF0zqDN8LkdFyE3K+En7qny3yr5DkVBn+0EC3raGPTohKFIgvn+RBvTL
B7yyduofAkEA3DSbJOUh/TtULw6Dbxf20fpJGQUKBV3q6Zr1aJJ8ldAs/2E5k4QC
vQ2yG34VfHvH2AT/HriohhRGKaSHtmjdnwJBAKvmxr67/z7zHgReyLInpPq4D13H
dJV/JedTDke0cXfo3LysiWeDTtIyRvrmUJlIUolgdJAtAgmbyIzODylgxRECQQCW
l7deBQE4oCFTSRajm/zk3sisvqB6yR7FAX9BM6TWA5cyUzg/5PDGf55FZPWmuzQR
TGF4jgpaH3VYNzfEjHS7AkEAk7Ru96N1v4eViJnk25cJ27+zIMUS7HJ+tbm80+pO
6zfenMU6DXWT1bBXKOkwVLX95OGoc/lskvK6GvEbgYAMpg==
-----END RSA TESTING KEY-----
`
)

// parseKey reads one of the keys above.
func parseKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(strings.ReplaceAll(text, "TESTING KEY", "PRIVATE KEY")))
	if block == nil {
		return nil, fmt.Errorf("read key: no PEM block")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return key, nil
}

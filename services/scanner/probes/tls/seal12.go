package tls

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // TLS 1.1 derives its keys with it
	"crypto/sha1" //nolint:gosec // TLS up to 1.2 authenticates records with it
	"encoding/binary"
	"hash"
)

// clientRandom is the random value of the probe's own hello.
func clientRandom(got *shaken) []byte {
	return randomOf(got.conn.written, typeClientHello)
}

// serverRandom is that of the server.
func serverRandom(recorded []byte) []byte {
	return randomOf(recorded, typeServerHello)
}

// randomOf finds the random value of the first hello of a kind in what was recorded; nil if there is none.
func randomOf(recorded []byte, wanted byte) []byte {
	in := flight{reader: bufio.NewReader(bytes.NewReader(recorded))}
	kind, body, err := in.message()
	if err != nil || kind != wanted || len(body) < 34 {
		return nil
	}
	return bytes.Clone(body[2:34])
}

// seal makes the second record that a client sends under its keys (the first was its Finished message): a handshake message,
// sealed as TLS 1.1 and 1.2 do (RFC 5246 section 6.2.3).
func seal(s sealing, version uint16, master, client, server, message []byte) ([]byte, error) {
	const sequence = 1
	block := keyBlock(s, version, master, client, server)
	macKey, key, iv := block[:s.mac], block[2*s.mac:2*s.mac+s.key], block[2*s.mac+2*s.key:2*s.mac+2*s.key+s.iv]
	header := []byte{recordHandshake, byte(version >> 8), byte(version)}
	additional := append(binary.BigEndian.AppendUint64(nil, sequence), header...)
	additional = binary.BigEndian.AppendUint16(additional, uint16(len(message)))
	var body []byte
	if s.aead == nil {
		sealed, err := sealCBC(macKey, key, additional, message)
		if err != nil {
			return nil, err
		}
		body = sealed
	} else {
		aead, err := s.aead(key)
		if err != nil {
			return nil, err
		}
		nonce := nonceOf(append(bytes.Clone(iv), make([]byte, aead.NonceSize()-len(iv))...), sequence)
		if s.iv == 4 { // GCM sends its part of the nonce (RFC 5288 section 3), ChaCha20 does not (RFC 7905 section 2)
			body = append(body, nonce[4:]...)
		}
		body = aead.Seal(body, nonce, message, additional)
	}
	return appendBlock16(header, body), nil
}

func sealCBC(macKey, key, additional, message []byte) ([]byte, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha1.New, macKey)
	mac.Write(additional)
	mac.Write(message)
	plain := mac.Sum(bytes.Clone(message))
	padding := aes.BlockSize - (len(plain)+1)%aes.BlockSize
	padding %= aes.BlockSize
	plain = append(plain, bytes.Repeat([]byte{byte(padding)}, padding+1)...)
	out := random(aes.BlockSize)
	cipher.NewCBCEncrypter(block, out).CryptBlocks(plain, plain)
	return append(out, plain...), nil
}

// keyBlock derives the keys of both sides (RFC 5246 section 6.3): MAC keys, keys and nonces, the client's first.
func keyBlock(s sealing, version uint16, master, client, server []byte) []byte {
	size := 2 * (s.mac + s.key + s.iv)
	seed := append([]byte("key expansion"), append(bytes.Clone(server), client...)...)
	if version == versionTLS12 {
		return expandHash(s.prf, master, seed, size)
	}
	// RFC 4346 section 5: two halves of the secret, two hashes.
	half := (len(master) + 1) / 2
	out := expandHash(md5.New, master[:half], seed, size)
	for i, b := range expandHash(sha1.New, master[len(master)-half:], seed, size) {
		out[i] ^= b
	}
	return out
}

// expandHash is P_hash of RFC 5246 section 5.
func expandHash(h func() hash.Hash, secret, seed []byte, size int) []byte {
	var out []byte
	mac := hmac.New(h, secret)
	mac.Write(seed)
	a := mac.Sum(nil)
	for len(out) < size {
		mac.Reset()
		mac.Write(a)
		mac.Write(seed)
		out = mac.Sum(out)
		mac.Reset()
		mac.Write(a)
		a = mac.Sum(nil)
	}
	return out[:size]
}

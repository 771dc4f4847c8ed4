// Bouncy Castle's CMS behind lines: one command with its arguments, tabs between; answers "OK <octets>\n" and octets, or "NO <why>\n".

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.Security;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.util.Collection;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.ASN1OctetString;
import org.bouncycastle.asn1.DEROctetString;
import org.bouncycastle.asn1.DERSequence;
import org.bouncycastle.asn1.DERSet;
import org.bouncycastle.asn1.cms.Attribute;
import org.bouncycastle.asn1.cms.AttributeTable;
import org.bouncycastle.asn1.cms.CMSAttributes;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.cms.EnvelopedData;
import org.bouncycastle.asn1.cms.IssuerAndSerialNumber;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientIdentifier;
import org.bouncycastle.asn1.cms.KeyAgreeRecipientInfo;
import org.bouncycastle.asn1.cms.OriginatorIdentifierOrKey;
import org.bouncycastle.asn1.cms.OriginatorPublicKey;
import org.bouncycastle.asn1.cms.RecipientEncryptedKey;
import org.bouncycastle.asn1.cms.RecipientInfo;
import org.bouncycastle.asn1.cms.ecc.ECCCMSSharedInfo;
import org.bouncycastle.asn1.edec.EdECObjectIdentifiers;
import org.bouncycastle.asn1.nist.NISTObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.CMSSignedDataGenerator;
import org.bouncycastle.cms.CMSTypedData;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.SimpleAttributeTableGenerator;
import org.bouncycastle.cms.jcajce.JcaSignerInfoGeneratorBuilder;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransAuthEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.crypto.Wrapper;
import org.bouncycastle.crypto.agreement.X25519Agreement;
import org.bouncycastle.crypto.digests.SHA256Digest;
import org.bouncycastle.crypto.engines.AESWrapEngine;
import org.bouncycastle.crypto.generators.HKDFBytesGenerator;
import org.bouncycastle.crypto.params.HKDFParameters;
import org.bouncycastle.crypto.params.KeyParameter;
import org.bouncycastle.crypto.params.X25519PrivateKeyParameters;
import org.bouncycastle.crypto.params.X25519PublicKeyParameters;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentSigner;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;
import org.bouncycastle.operator.jcajce.JcaContentSignerBuilder;
import org.bouncycastle.operator.jcajce.JcaDigestCalculatorProviderBuilder;
import org.bouncycastle.util.Pack;

public class Bouncy {
    public static void main(String[] none) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = System.out;
        for (String line; (line = in.readLine()) != null; out.flush()) {
            try {
                byte[] answer = obey(line.split("\t"));
                out.print("OK " + answer.length + "\n");
                out.write(answer);
            } catch (Exception | Error error) {
                Throwable cause = error;
                while (cause.getCause() != null) cause = cause.getCause();
                out.print("NO " + String.valueOf(cause).replace('\n', ' ') + "\n");
            }
        }
    }

    static byte[] obey(String[] words) throws Exception {
        byte[] data = read(words[1]);
        switch (words[0]) {
            case "decrypt": return decrypt(data, key(words[2]));
            case "agree": return agree(data, read(words[2]));
            case "offer": return offer(data, read(words[2]), words.length > 3 ? words[3].getBytes(StandardCharsets.US_ASCII) : null);
            case "encrypt": return encrypt(data, certificate(words[2]), words[3], new ASN1ObjectIdentifier(words[4]), words.length > 5);
            case "verify": return verify(data);
            case "sign": return sign(data, certificate(words[2]), key(words[3]), words[4]);
            default: throw new IllegalArgumentException(words[0]);
        }
    }

    static byte[] read(String path) throws Exception {
        return Files.readAllBytes(Paths.get(path));
    }

    static X509CertificateHolder certificate(String path) throws Exception {
        return new X509CertificateHolder(read(path));
    }

    static PrivateKey key(String path) throws Exception {
        return BouncyCastleProvider.getPrivateKey(PrivateKeyInfo.getInstance(read(path)));
    }

    static byte[] decrypt(byte[] data, PrivateKey key) throws Exception {
        boolean rsa = key.getAlgorithm().equals("RSA");
        Collection<RecipientInformation> readers;
        Recipient way;
        if (ContentInfo.getInstance(data).getContentType().equals(CMSObjectIdentifiers.authEnvelopedData)) {
            readers = new CMSAuthEnvelopedData(data).getRecipientInfos().getRecipients();
            if (!rsa) throw new IllegalArgumentException("no key agreement for AuthEnvelopedData");  // 1.72 has no such recipient
            way = new JceKeyTransAuthEnvelopedRecipient(key).setProvider("BC");
        } else {
            readers = new CMSEnvelopedData(data).getRecipientInfos().getRecipients();
            way = rsa ? new JceKeyTransEnvelopedRecipient(key).setProvider("BC") : new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC");
        }
        return readers.iterator().next().getContent(way);
    }

    // RFC 8418 out of Bouncy Castle's parts, because 1.72 knows X25519 and HKDF but not their OIDs in CMS: its ASN.1 classes,
    // agreement, key derivation and key wrap. `secret` is the raw private key; the answer is the content key.
    static byte[] agree(byte[] data, byte[] secret) throws Exception {
        EnvelopedData enveloped = EnvelopedData.getInstance(ContentInfo.getInstance(data).getContent());
        KeyAgreeRecipientInfo info = KeyAgreeRecipientInfo.getInstance(RecipientInfo.getInstance(enveloped.getRecipientInfos().getObjectAt(0)).getInfo());
        OriginatorPublicKey theirs = info.getOriginator().getOriginatorKey();
        if (!theirs.getAlgorithm().getAlgorithm().equals(EdECObjectIdentifiers.id_X25519)) throw new Exception("originator key of another kind");
        byte[] key = derive(secret, theirs.getPublicKey().getOctets(), info.getKeyEncryptionAlgorithm(), info.getUserKeyingMaterial());
        byte[] wrapped = RecipientEncryptedKey.getInstance(info.getRecipientEncryptedKeys().getObjectAt(0)).getEncryptedKey().getOctets();
        Wrapper wrapper = new AESWrapEngine();
        wrapper.init(false, new KeyParameter(key));
        return wrapper.unwrap(wrapped, 0, wrapped.length);
    }

    // A KeyAgreeRecipientInfo for a content key of ours: words are the certificate of the reader, and keying material.
    static byte[] offer(byte[] contentKey, byte[] reader, byte[] material) throws Exception {
        X509CertificateHolder holder = new X509CertificateHolder(reader);
        X25519PrivateKeyParameters ephemeral = new X25519PrivateKeyParameters(new SecureRandom());
        AlgorithmIdentifier wrap = new AlgorithmIdentifier(NISTObjectIdentifiers.id_aes256_wrap);
        AlgorithmIdentifier scheme = new AlgorithmIdentifier(new ASN1ObjectIdentifier("1.2.840.113549.1.9.16.3.19"), wrap);
        ASN1OctetString ukm = material == null ? null : new DEROctetString(material);
        byte[] key = derive(ephemeral.getEncoded(), holder.getSubjectPublicKeyInfo().getPublicKeyData().getOctets(), scheme, ukm);
        Wrapper wrapper = new AESWrapEngine();
        wrapper.init(true, new KeyParameter(key));
        RecipientEncryptedKey one = new RecipientEncryptedKey(
            new KeyAgreeRecipientIdentifier(new IssuerAndSerialNumber(holder.getIssuer(), holder.getSerialNumber())),
            new DEROctetString(wrapper.wrap(contentKey, 0, contentKey.length)));
        OriginatorIdentifierOrKey originator = new OriginatorIdentifierOrKey(new OriginatorPublicKey(
            new AlgorithmIdentifier(EdECObjectIdentifiers.id_X25519), ephemeral.generatePublicKey().getEncoded()));
        return new RecipientInfo(new KeyAgreeRecipientInfo(originator, ukm, scheme, new DERSequence(one))).getEncoded(ASN1Encoding.DER);
    }

    static byte[] derive(byte[] mine, byte[] theirs, AlgorithmIdentifier scheme, ASN1OctetString ukm) throws Exception {
        X25519Agreement agreement = new X25519Agreement();
        agreement.init(new X25519PrivateKeyParameters(mine, 0));
        byte[] shared = new byte[agreement.getAgreementSize()], key = new byte[32];
        agreement.calculateAgreement(new X25519PublicKeyParameters(theirs, 0), shared, 0);
        AlgorithmIdentifier wrap = AlgorithmIdentifier.getInstance(scheme.getParameters());
        byte[] material = ukm == null ? null : ukm.getOctets();
        byte[] info = new ECCCMSSharedInfo(wrap, material, Pack.intToBigEndian(256)).getEncoded(ASN1Encoding.DER);
        HKDFBytesGenerator generator = new HKDFBytesGenerator(new SHA256Digest());
        generator.init(new HKDFParameters(shared, material, info));
        generator.generateBytes(key, 0, key.length);
        return key;
    }

    // how: "v1.5", "oaep:HASH:HASH", or "SCHEME:WRAP[:UKM]" with OIDs
    static byte[] encrypt(byte[] data, X509CertificateHolder holder, String how, ASN1ObjectIdentifier cipher, boolean attributes) throws Exception {
        RecipientInfoGenerator reader = reader(new JcaX509CertificateConverter().getCertificate(holder), how);
        OutputEncryptor encryptor = new JceCMSContentEncryptorBuilder(cipher).setProvider("BC").build();
        CMSTypedData content = new CMSProcessableByteArray(data);
        if (encryptor instanceof OutputAEADEncryptor) {
            CMSAuthEnvelopedDataGenerator made = new CMSAuthEnvelopedDataGenerator();
            made.addRecipientInfoGenerator(reader);
            Attribute type = new Attribute(CMSAttributes.contentType, new DERSet(CMSObjectIdentifiers.data));
            if (attributes) made.setAuthenticatedAttributeGenerator(new SimpleAttributeTableGenerator(new AttributeTable(type)));
            return made.generate(content, (OutputAEADEncryptor) encryptor).getEncoded();
        }
        CMSEnvelopedDataGenerator made = new CMSEnvelopedDataGenerator();
        made.addRecipientInfoGenerator(reader);
        return made.generate(content, encryptor).getEncoded();
    }

    static RecipientInfoGenerator reader(X509Certificate certificate, String how) throws Exception {
        String[] parts = how.split(":");
        if (how.equals("v1.5")) return new JceKeyTransRecipientInfoGenerator(certificate);
        if (parts[0].equals("oaep")) {
            OAEPParameterSpec hashes = new OAEPParameterSpec(parts[1], "MGF1", new MGF1ParameterSpec(parts[2]), PSource.PSpecified.DEFAULT);
            AlgorithmIdentifier oaep = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(PKCSObjectIdentifiers.id_RSAES_OAEP, hashes);
            return new JceKeyTransRecipientInfoGenerator(certificate, oaep);
        }
        KeyPairGenerator pairs = KeyPairGenerator.getInstance(certificate.getPublicKey().getAlgorithm(), "BC");
        if (certificate.getPublicKey() instanceof ECPublicKey) pairs.initialize(((ECPublicKey) certificate.getPublicKey()).getParams());
        KeyPair ephemeral = pairs.generateKeyPair();
        JceKeyAgreeRecipientInfoGenerator made = new JceKeyAgreeRecipientInfoGenerator(
            new ASN1ObjectIdentifier(parts[0]), ephemeral.getPrivate(), ephemeral.getPublic(), new ASN1ObjectIdentifier(parts[1])).setProvider("BC");
        made.addRecipient(certificate);
        if (parts.length > 2) made.setUserKeyingMaterial(parts[2].getBytes(StandardCharsets.US_ASCII));
        return made;
    }

    static byte[] verify(byte[] data) throws Exception {
        CMSSignedData signed = new CMSSignedData(data);
        for (SignerInformation one : signed.getSignerInfos().getSigners()) {
            X509CertificateHolder signer = (X509CertificateHolder) signed.getCertificates().getMatches(one.getSID()).iterator().next();
            if (!one.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(signer))) throw new Exception("signature does not hold");
        }
        return (byte[]) signed.getSignedContent().getContent();
    }

    static byte[] sign(byte[] data, X509CertificateHolder holder, PrivateKey key, String algorithm) throws Exception {
        CMSSignedDataGenerator made = new CMSSignedDataGenerator();
        ContentSigner signer = new JcaContentSignerBuilder(algorithm).setProvider("BC").build(key);
        made.addSignerInfoGenerator(new JcaSignerInfoGeneratorBuilder(
            new JcaDigestCalculatorProviderBuilder().setProvider("BC").build()).build(signer, holder));
        made.addCertificate(holder);
        return made.generate(new CMSProcessableByteArray(data), true).getEncoded();
    }
}

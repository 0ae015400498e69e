function st(s,t,e){return t==="mean"?s.mean(e):s.put(1,e.cols,new Float64Array(e.cols))}var ot=(s,t)=>Int32Array.from({length:t},(e,n)=>s+n),G=(s,t)=>s.filter(e=>e.what===t),jt=({rows:s,index:t},e)=>({rows:e(s),index:t});function as(s,{what:t,numbers:e,said:n},r,o){if(t==="neuron"){if(e.some(l=>l>=r.cols))throw new Error(`no ${n}: there are ${r.cols} neurons`);return Int32Array.from(e)}let{freq:a,purity:i}=s.tuning(r,o.addition),c=Array.from(a,(l,d)=>i[d]>=.85&&e.includes(l));return Int32Array.from(c.flatMap((l,d)=>l===(t==="cluster")?[d]:[]))}function Ct(s,t,e,n){for(let r of e){if(!["neuron","cluster","no cluster"].includes(r.what))continue;let o=as(s,r,t,n);r.fill==="polynomial"?t=s.polynomial(t,o,n.addition):o.length&&(t=s.replaced(t,o,st(s,r.fill,t)))}return t}function $t(s,t,e,n,[r,o]){for(let a of[...G(e,r),...G(e,o)]){let i=s.waves(t,a.numbers,n.addition);t=a.what===r?s.sum(t,i,-1):s.sum(i,s.mean(t))}return t}function is(s,t,e){let n=s.read(t),r=n.length/e,o=new Float64Array(r);return n.forEach((a,i)=>o[i%r]+=a),s.put(1,n.length,Float64Array.from(n,(a,i)=>o[i%r]/e))}var vt=class{constructor(t,e,n,r,o,a){Object.assign(this,{x:t,model:e,layer:r,task:a,n:a.pairs,parts:o.filter(i=>i.layer===r)}),this.of=i=>n(`blocks.${r}.${i}`)}normed(t,e){return this.model.normalization!=="LN"?t:this.x.normed(t,this.of(`${e}.w`),this.of(`${e}.b`))}heads(t,e){return jt(t,n=>this.x.product(n,this.of(`attn.W_${e}`),this.of(`attn.b_${e}`)))}attention(t,e){let{x:n,model:r,n:o}=this,a=(f,h)=>f.map(g=>this.heads(jt(g,p=>this.normed(p,"ln1")),h)),[i]=a([t],"Q"),c=n.attention(i,a(e,"K"),r.n_heads,r.attention_rate??1,o);for(let{fill:f}of G(this.parts,"pattern")){let h=n.mean(c);c=n.repeated(f==="mean"?h:is(n,h,e.length),o)}let l=n.mixture(c,a(e,"V"),r.n_heads,o);for(let{numbers:f,fill:h,said:g}of G(this.parts,"head")){if(f[0]>=r.n_heads)throw new Error(`no ${g}: there are ${r.n_heads} heads`);l=n.replaced(l,ot(f[0]*r.d_head,r.d_head),st(n,h,l))}let d=n.product(l,this.of("attn.W_O"),this.of("attn.b_O"));for(let{fill:f}of G(this.parts,"attention"))d=n.repeated(st(n,f,d),o);return{out:d,pattern:c}}neurons(t){let e=this.x.product(this.normed(t,"ln2"),this.of("mlp.W_in"),this.of("mlp.b_in"));return{pre:e,post:Ct(this.x,this.x.activation(e,this.model.act),this.parts,this.task)}}alone(t){let{x:e}=this,n=this.heads({rows:this.normed(t,"ln1"),index:null},"V").rows,r=e.sum(e.product(n,this.of("attn.W_O"),this.of("attn.b_O")),t);return e.sum(r,e.product(this.neurons(r).post,this.of("mlp.W_out"),this.of("mlp.b_out")))}after(t,e){let{x:n}=this;if(e.length===1&&!this.parts.length)return jt(t,c=>this.alone(c));let{out:r}=this.attention(t,e),o=t.index?n.gather(t.rows,t.index):t.rows,a=n.sum(r,o),i=n.product(this.neurons(a).post,this.of("mlp.W_out"),this.of("mlp.b_out"));for(let{fill:c}of G(this.parts,"mlp"))i=n.repeated(st(n,c,i),this.n);for(let{fill:c}of G(this.parts,"layer"))return{rows:n.sum(o,n.repeated(st(n,c,n.sum(r,i)),this.n)),index:null};return{rows:n.sum(a,i),index:null}}};function Xt(s,t,e,n,r){let{p:o}=t,a=t.equals??!0,i=e("embed.W_E"),c=e("pos_embed.W_pos"),l=(q,N)=>s.gather(i,ot(q,N)),d=(q,N)=>s.sum(q,s.gather(c,ot(N,1))),f=l(0,o),h=t.own_tokens?l(o,o):f,g=[{rows:d(f,0),index:r.a},{rows:d(h,1),index:r.b}];a&&g.push({rows:d(l(i.rows-1,1),2),index:null});let p=t.n_layers-1;for(let q=0;q<p;q++){let N=new vt(s,t,e,q,n,r),F=z=>t.causal??!0?g.slice(0,z+1):g;g=g.map((z,J)=>{let X=null;return{rows:s.scoped(()=>{let B=N.after(z,F(J));return X=B.index,B.rows}),index:X}})}let u=new vt(s,t,e,p,n,r),m=g.at(-1),{out:b,pattern:y}=u.attention(m,g),x=m.index?s.gather(m.rows,m.index):m.rows,v=s.sum(b,x),{pre:w,post:_}=u.neurons(v),E=s.columns(e("unembed.W_U"),0,o),M=s.columns(e("unembed.b_U"),0,o),k=t.normalization!=="LN",O=(q,N)=>k?s.product(q,E,N):N?s.sum(q,N):q,S=k?s.product(_,s.product(u.of("mlp.W_out"),E),s.product(u.of("mlp.b_out"),E)):s.product(_,u.of("mlp.W_out"),u.of("mlp.b_out"));S=$t(s,S,u.parts,r,["waves","only waves"]);let j=O(v);for(let{fill:q}of G(u.parts,"layer")){let N=s.sum(O(b),S);S=s.repeated(st(s,q,N),r.pairs),j=O(x)}for(let{fill:q}of G(u.parts,"mlp"))S=s.repeated(st(s,q,S),r.pairs);for(let{fill:q}of G(u.parts,"skip"))j=st(s,q,j);let L=s.sum(S,j);return L=k?s.sum(L,M):s.product(s.normed(L,e("ln_final.w"),e("ln_final.b")),E,M),{logits:$t(s,L,u.parts,r,["excluded","restricted"]),pre:w,post:_,pattern:y}}function cs(s,t,e,n){if(!n.features){let[o,a]=ls(s,t,e);return s.sum(s.gather(o,n.a),s.gather(a,n.b))}if(t.kind!=="dense")throw new Error(`a network of kind ${t.kind} reads pairs of numbers, not features`);let r=s.put(n.pairs,t.n_in,n.features);return s.product(r,e("blocks.0.mlp.W_in"),e("blocks.0.mlp.b_in"))}function ls(s,t,e){let n=e("blocks.0.mlp.W_in"),r=(f,h)=>s.gather(n,ot(f,h));if(t.kind==="quadratic_mlp")return[r(0,t.p),r(t.p,t.p)];let o=e("blocks.0.mlp.b_in");if(t.kind==="dense"){let f=t.n_in/2;return[s.sum(r(0,f),o),r(f,f)]}let{p:a,d_embed:i}=t,c=e("embed.W_E"),l=s.gather(c,ot(0,a)),d=s.gather(c,ot(c.rows-a,a));return[s.product(l,r(0,i),o),s.product(d,r(n.rows-i,i))]}function _t(s,t,e,n,r){for(let{what:g,said:p}of n)if(!["neuron","cluster","no cluster","waves","only waves","excluded","restricted"].includes(g))throw new Error(`no ${p}: a network of kind ${t.kind} has neurons alone`);let o=t.kind==="quadratic_mlp"?"square":t.act,a=t.kind==="quadratic_mlp"?1:t.depth,i=g=>n.filter(p=>p.layer===g),c=cs(s,t,e,r),l=Ct(s,s.activation(c,o),i(0),r);for(let g=1;g<a;g++)c=s.product(l,e(`blocks.${g}.mlp.W_in`),e(`blocks.${g}.mlp.b_in`)),l=Ct(s,s.activation(c,o),i(g),r);let d=i(a-1),f=s.product(l,e("unembed.W_U"));f=$t(s,f,d,r,["waves","only waves"]);let h=t.kind==="quadratic_mlp"?f:s.sum(f,e("unembed.b_U"));return{logits:$t(s,h,d,r,["excluded","restricted"]),pre:c,post:l,pattern:null}}var fs={freq:"waves","only freq":"only waves"},at={pattern:["uniform","mean"],head:["zero","mean"],attention:["zero","mean"],neuron:["zero","mean"],cluster:["zero","mean","polynomial"],"no cluster":["zero","mean"],waves:["zero"],"only waves":["mean"],layer:["zero","mean"],mlp:["zero","mean"],skip:["zero","mean"],excluded:["zero"],restricted:["mean"]},ds=["head","neuron","cluster","no cluster","waves","only waves","excluded","restricted"],us=["head","attention","neuron","mlp","layer"];function Zt(s){let t=/^(?:layer\s+(\d+)\s*)?([a-z ]*?)\s*((?:\d+\s*,\s*)*\d+)?$/.exec(s.trim()),e=()=>new Error(`no part '${s}'; parts are ${Object.keys(at).join(", ")}`);if(!t)throw e();let n=t[1]===void 0?null:Number(t[1]),o=t[2].split(/\s+/).filter(Boolean).join(" ")||(n!==null&&t[3]===void 0?"layer":""),a=fs[o]??o;if(!Object.hasOwn(at,a)||a==="layer"!=(o==="layer"&&n!==null))throw e();let i=[...new Set((t[3]?.match(/\d+/g)??[]).map(Number))].sort((c,l)=>c-l);if(ds.includes(a)!==i.length>0||a==="head"&&i.length>1||n!==null&&!us.includes(a))throw e();return{what:a,numbers:i,layer:n}}function te(s,t){let e=Object.keys(at);return s.filter(r=>r.kind==="ablate").map(r=>{let o=Zt(r.part),a=r.fill??at[o.what][0];if(!at[o.what].includes(a))throw new Error(`in the place of ${r.part} may stand ${at[o.what].join(" or ")}; got '${a}'`);return{...o,layer:o.layer??t,fill:a,said:r.part}}).sort((r,o)=>r.layer-o.layer||e.indexOf(r.what)-e.indexOf(o.what))}function rt(s){let t=new Float64Array(s*s).fill(1/Math.sqrt(s));for(let e=1;e<s;e++){let n=e+1>>1,r=e%2?Math.cos:Math.sin,o=0;for(let a=0;a<s;a++)o+=(t[e*s+a]=r(2*Math.PI*(n*a%s)/s))**2;for(let a=0;a<s;a++)t[e*s+a]/=Math.sqrt(o)}return t}function ps(s,t){for(let e of s)if(!(Number.isInteger(e)&&e>=1&&e<=t>>1))throw new Error(`frequencies must be in 1..${t>>1}; got ${s}`);return s.flatMap(e=>2*e<t?[2*e-1,2*e]:[2*e-1])}function Mt(s,t,e,n,r=rt(t)){let o=new Float64Array(t*e);for(let a of ps(n,t))for(let i=0;i<e;i++){let c=0;for(let l=0;l<t;l++)c+=r[a*t+l]*s[l*e+i];for(let l=0;l<t;l++)o[l*e+i]+=r[a*t+l]*c}return o}var hs=2**-23;function gs(s){let t=Math.abs(s);if(t<2.5){let n=s,r=s;for(let o=1;Math.abs(n)>1e-17*Math.abs(r);o++)n*=-s*s/o,r+=n/(2*o+1);return 2/Math.sqrt(Math.PI)*r}let e=0;for(let n=60;n>0;n--)e=n/2/(t+e);return Math.sign(s)*(1-Math.exp(-s*s)/(Math.sqrt(Math.PI)*(t+e)))}var ms={relu:s=>s>0?s:0,gelu:s=>s*(1+gs(s/Math.SQRT2))/2,tanh:Math.tanh,square:s=>s*s},At=class{put(t,e,n){if(n.length!==t*e)throw new Error(`${t} x ${e} numbers are needed; got ${n.length}`);return{rows:t,cols:e,data:Float64Array.from(n)}}read(t){return Float64Array.from(t.data)}begin(){}scoped(t){return t()}_made(t,e,n){let r=new Float64Array(t*e);for(let o=0,a=0;o<t;o++)for(let i=0;i<e;i++,a++)r[a]=n(o,i,a);return{rows:t,cols:e,data:r}}product(t,e,n=null){if(t.cols!==e.rows)throw new Error(`a product of ${t.rows} x ${t.cols} and ${e.rows} x ${e.cols}`);let r=this._made(t.rows,e.cols,(o,a)=>n?n.data[(n.rows>1?o*e.cols:0)+a]:0);for(let o=0;o<t.rows;o++)for(let a=0;a<t.cols;a++){let i=t.data[o*t.cols+a];if(i!==0)for(let c=0;c<e.cols;c++)r.data[o*e.cols+c]+=i*e.data[a*e.cols+c]}return r}sum(t,e,n=1){let[r,o]=[t,e].map(a=>a.rows>1?a.cols:0);return this._made(Math.max(t.rows,e.rows),t.cols,(a,i)=>t.data[a*r+i]+n*e.data[a*o+i])}gather(t,e){return this._made(e.length,t.cols,(n,r)=>t.data[e[n]*t.cols+r])}columns(t,e,n){return this._made(t.rows,n,(r,o)=>t.data[r*t.cols+e+o])}activation(t,e){return this._made(t.rows,t.cols,(n,r,o)=>ms[e](t.data[o]))}normed(t,e,n){let r=this._made(t.rows,t.cols,()=>0);for(let o=0;o<t.rows;o++){let a=t.data.subarray(o*t.cols,(o+1)*t.cols),i=a.reduce((l,d)=>l+d,0)/t.cols,c=Math.sqrt(a.reduce((l,d)=>l+(d-i)**2,0)/t.cols+1e-5);a.forEach((l,d)=>r.data[o*t.cols+d]=(l-i)/c*e.data[d]+n.data[d])}return r}attention(t,e,n,r,o){let a=t.rows.cols/n,i=(l,d)=>(l.index?l.index[d]:l.rows.rows===1?0:d)*l.rows.cols,c=this._made(o,e.length*n,()=>0);for(let l=0;l<o;l++)for(let d=0;d<n;d++){let f=e.map(u=>{let m=0;for(let b=d*a;b<(d+1)*a;b++)m+=t.rows.data[i(t,l)+b]*u.rows.data[i(u,l)+b];return m/Math.sqrt(a)}),h=Math.max(...f),g=f.map(u=>Math.exp(u-h)),p=g.reduce((u,m)=>u+m,0);g.forEach((u,m)=>c.data[(l*e.length+m)*n+d]=u/p*r+1-r)}return c}mixture(t,e,n,r){let o=e[0].rows.cols,a=o/n,i=this._made(r,o,()=>0);for(let c=0;c<r;c++)e.forEach(({rows:l,index:d},f)=>{let h=(d?d[c]:l.rows===1?0:c)*o,g=((t.rows===1?0:c)*e.length+f)*n;for(let p=0;p<o;p++)i.data[c*o+p]+=t.data[g+Math.floor(p/a)]*l.data[h+p]});return i}mean(t){let e=this._made(1,t.cols,()=>0);for(let n=0;n<t.data.length;n++)e.data[n%t.cols]+=t.data[n]/t.rows;return e}repeated(t,e){return this._made(e,t.cols,(n,r)=>t.data[r])}replaced(t,e,n){let r=this._made(t.rows,t.cols,(o,a,i)=>t.data[i]);for(let o=0;o<t.rows;o++)for(let a of e)r.data[o*t.cols+a]=n.data[(n.rows>1?o*t.cols:0)+a];return r}waves(t,e,{m:n,sums:r}){let o=new Float64Array(n*t.cols);for(let i=0;i<t.rows;i++)for(let c=0;c<t.cols;c++)o[r[i]*t.cols+c]+=t.data[i*t.cols+c]/n;let a=Mt(o,n,t.cols,e);return this._made(t.rows,t.cols,(i,c)=>a[r[i]*t.cols+c])}tuning(t,{m:e,order:n}){let r=rt(e),o=e>>1,a=new Int32Array(t.cols),i=new Float64Array(t.cols),c=new Float64Array(e*e),l=new Float64Array(e*e);for(let d=0;d<t.cols;d++){let f=0;for(let u=0;u<e*e;u++)f+=(c[u]=t.data[n[u]*t.cols+d])/(e*e);let h=c.reduce((u,m)=>u+(m-f)**2,0);if(!(h>(e*hs)**2*(h+e*e*f*f)))continue;for(let u=0;u<e;u++)for(let m=0;m<e;m++){let b=0;for(let y=0;y<e;y++)b+=r[m*e+y]*(c[u*e+y]-f);l[u*e+m]=b}let g=(u,m)=>{let b=0;for(let y=0;y<e;y++)b+=r[u*e+y]*l[y*e+m];return b},p=-1;for(let u=1;u<=o;u++){let m=2*u<e?[2*u-1,2*u]:[2*u-1],b=0;for(let y of m)b+=g(y,0)**2+g(0,y)**2;for(let y of m)for(let x of m)b+=g(y,x)**2;b>p&&(p=b,a[d]=u,i[d]=b/h)}}return{freq:a,purity:i}}polynomial(t,e,{m:n,order:r}){let{freq:o}=this.tuning(t,{m:n,order:r}),a=rt(n),i=this._made(t.rows,t.cols,(c,l,d)=>t.data[d]);for(let c of e){if(!o[c])continue;let l=[0,2*o[c]-1,...2*o[c]<n?[2*o[c]]:[]],d=new Float64Array(n*n);for(let f of l)for(let h of l){let g=u=>a[f*n+Math.floor(u/n)]*a[h*n+u%n],p=r.reduce((u,m,b)=>u+g(b)*t.data[m*t.cols+c],0);for(let u=0;u<n*n;u++)d[u]+=p*g(u)}d.forEach((f,h)=>i.data[r[h]*t.cols+c]=f)}return i}scores(t,{labels:e,isTrain:n}){let r=[0,0],o=[0,0],a=[0,0];for(let l=0;l<t.rows;l++){let d=t.data.subarray(l*t.cols,(l+1)*t.cols),f=d.reduce((p,u)=>Math.max(p,u),-1/0),h=d.reduce((p,u)=>p+Math.exp(u-f),0),g=n[l]?0:1;a[g]+=1,r[g]+=Math.log(h)+f-d[e[l]],o[g]+=d.indexOf(f)===e[l]?1:0}let[i,c]=[0,1].map(l=>({loss:r[l]/a[l],acc:o[l]/a[l]}));return{train_loss:i.loss,test_loss:c.loss,train_acc:i.acc,test_acc:c.acc}}};var bs=s=>{for(let t=2;t*t<=s;t++)if(s%t===0)return!1;return!0};function ws(s,t){let e=[1];for(;e.length<t-1;)e.push(e.at(-1)*s%t);return e}function ys(s){if(!bs(s))throw new Error(`p must be prime to have a discrete logarithm; got ${s}`);for(let t=2;t<s||s===3;t++){let e=ws(t,s);if(new Set(e).size===s-1)return e}throw new Error(`no primitive root of ${s}`)}var xs=(s,t)=>{for(let e=1;e<t;e++)if(s*e%t===1)return e;return 0},ee={add:(s,t,e)=>(s+t)%e,subtract:(s,t,e)=>((s-t)%e+e)%e,multiply:(s,t,e)=>s*t%e,divide:(s,t,e)=>s*xs(t,e)%e,quadratic:(s,t,e)=>(s*s+s*t+t*t)%e,times_square:(s,t,e)=>s*(t*t%e)%e};function ks(s,t){let e=typeof s=="string"?Uint8Array.from(atob(s),n=>n.charCodeAt(0)):s;return Uint8Array.from({length:t},(n,r)=>e[r>>3]>>(r&7)&1)}var it=class{constructor(t){this.p=t.p??null,this.operation=this.p===null?null:t.operation??"add",this.grouped=this.operation==="multiply"||this.operation==="divide";let e=this.grouped?1:0,n=this.p-e,r=t.inputs&&!t.features?Array.from(t.inputs).flat():null;this.features=t.features?Float32Array.from(t.features):null;let o=this.features?t.labels.length:r?r.length/3:n*n;if(this.pairs=o,this.features&&(this.p=null),this.a=Int32Array.from({length:this.features?0:o},(a,i)=>r?r[3*i]:Math.floor(i/n)+e),this.b=Int32Array.from({length:this.features?0:o},(a,i)=>r?r[3*i+1]:i%n+e),!Number.isInteger(o)||o<1)throw new Error("a task needs p, or inputs of three numbers a pair, or features");if(!t.labels&&!ee[this.operation])throw new Error(`labels of '${this.operation}' must be given`);if(this.labels=Int32Array.from(t.labels??Array.from(this.a,(a,i)=>ee[this.operation](a,this.b[i],this.p))),this.isTrain=t.is_train?Uint8Array.from(t.is_train,Number):t.train_mask?ks(t.train_mask,o):null,!this.isTrain)throw new Error("a task needs is_train or train_mask");for(let[a,i]of[["labels",this.labels],["is_train",this.isTrain]])if(i.length!==o)throw new Error(`${a} must be of ${o} pairs; got ${i.length}`);this.square=this.p!==null&&o===n*n}get addition(){if(this.hidden)return this.hidden;if(!this.square)throw new Error("frequencies are of tasks on all pairs of numbers modulo p; this is none");let t=this.p,e=this.grouped?ys(t):Array.from({length:t},(c,l)=>l),n=e.length,r=this.grouped?1:0,o=this.operation==="subtract"||this.operation==="divide",a=new Int32Array(n*n),i=new Int32Array(n*n);for(let c=0;c<n;c++)for(let l=0;l<n;l++){let d=e[o?(n-l)%n:l],f=(e[c]-r)*n+d-r;a[c*n+l]=f,i[f]=(c+l)%n}return this.hidden={m:n,order:a,sums:i},this.hidden}};var zt=["relu","gelu","tanh","square"],$s=65536,Et=class{constructor(t){this.f=t.exports,this.f.start(),this.first=this.f.__heap_base.value,this.bases=new Map,this.begin()}begin(){this.next=this.first,this.places=new Map}_room(t){let e=this.next+15&-16;this.next=e+t;let n=this.next-this.f.memory.buffer.byteLength;return n>0&&this.f.memory.grow(Math.ceil(n/$s)),e}scoped(t){let e=this.next+15&-16,{rows:n,cols:r,at:o}=t();if(o<e)return{rows:n,cols:r,at:o};let a=4*n*r;new Uint8Array(this.f.memory.buffer).copyWithin(e,o,o+a),this.next=e+a;for(let[i,c]of this.places)c>=e&&this.places.delete(i);return{rows:n,cols:r,at:e}}_matrix(t,e){return{rows:t,cols:e,at:this._room(4*t*e)}}_floats(t,e){return new Float32Array(this.f.memory.buffer,t,e)}_placed(t){let e=this._room(t.byteLength);return new t.constructor(this.f.memory.buffer,e,t.length).set(t),e}_index(t){return t?(this.places.has(t)||this.places.set(t,this._placed(t)),this.places.get(t)):0}_basis(t){return this.bases.has(t)||this.bases.set(t,rt(t)),this.bases.get(t)}put(t,e,n){if(n.length!==t*e)throw new Error(`${t} x ${e} numbers are needed; got ${n.length}`);let r=this._matrix(t,e);return this._floats(r.at,t*e).set(n),r}read(t){return this._floats(t.at,t.rows*t.cols).slice()}product(t,e,n=null){if(t.cols!==e.rows)throw new Error(`a product of ${t.rows} x ${t.cols} and ${e.rows} x ${e.cols}`);let r=this._matrix(t.rows,e.cols),o=this._room(4*t.cols*8*Math.ceil(e.cols/8)),a=n&&n.rows>1?e.cols:0;return this.f.product(t.at,e.at,n?n.at:0,a,r.at,t.rows,t.cols,e.cols,o),r}sum(t,e,n=1){let r=this._matrix(Math.max(t.rows,e.rows),t.cols),[o,a]=[t,e].map(i=>i.rows>1?i.cols:0);return this.f.sum(t.at,o,e.at,a,n,r.at,r.rows,t.cols),r}gather(t,e){let n=this._matrix(e.length,t.cols);return this.f.gather(t.at,this._index(e),n.at,e.length,t.cols),n}columns(t,e,n){let r=this._matrix(t.rows,n);return this.f.columns(t.at,t.cols,e,r.at,t.rows,n),r}repeated(t,e){let n=this._matrix(e,t.cols);return this.f.columns(t.at,0,0,n.at,e,t.cols),n}activation(t,e){if(!zt.includes(e))throw new Error(`no activation '${e}'; there are ${zt.join(", ")}`);let n=this._matrix(t.rows,t.cols);return this.f.activation(zt.indexOf(e),t.at,n.at,t.rows*t.cols),n}normed(t,e,n){let r=this._matrix(t.rows,t.cols);return this.f.normed(t.at,e.at,n.at,r.at,t.rows,t.cols),r}_positions(t){let e=t.flatMap(({rows:n,index:r})=>[n.at,this._index(r),n.rows>1?1:0]);return this._placed(Int32Array.from(e))}attention(t,e,n,r,o){let a=this._matrix(o,e.length*n),{rows:i,index:c}=t,[l,d]=[i.rows>1?1:0,i.cols/n],[f,h]=[this._index(c),this._positions(e)];return this.f.attention(i.at,f,l,h,e.length,n,d,r,a.at,o),a}mixture(t,e,n,r){let{cols:o}=e[0].rows,a=this._matrix(r,o),i=t.rows>1?t.cols:0;return this.f.mixture(t.at,i,this._positions(e),e.length,n,o/n,a.at,r),a}mean(t){let e=this._matrix(1,t.cols);return this.f.mean(t.at,t.rows,t.cols,this._room(8*t.cols),e.at),e}_copy(t){return this.columns(t,0,t.cols)}replaced(t,e,n){let r=this._copy(t),o=this._placed(Int32Array.from(e));return this.f.replace(o,e.length,n.at,n.rows>1?n.cols:0,r.at,t.rows,t.cols),r}waves(t,e,{m:n,sums:r}){let o=this._room(8*n*t.cols),a=this._index(r);this.f.by_sum(t.at,a,o,t.rows,n,t.cols);let i=new Float64Array(this.f.memory.buffer,o,n*t.cols),c=i.map(d=>d/n);i.set(Mt(c,n,t.cols,e,this._basis(n)));let l=this._matrix(t.rows,t.cols);return this.f.of_sum(o,a,l.at,t.rows,t.cols),l}tuning(t,{m:e,order:n}){let{at:r,purity:o}=this._tuned(t,{m:e,order:n}),a=this.f.memory.buffer;return{freq:new Int32Array(a,r,t.cols).slice(),purity:new Float64Array(a,o,t.cols).slice()}}_tuned(t,{m:e,order:n}){let r=this._basis(e),{cols:o}=t,a=8*Math.ceil(o/8),i=[this._index(n),this._placed(r),this._placed(Float32Array.from(r))],l=[4*e*o,4*e*o,4*e*a,8*o,8*o,8*(4*(e>>1)+2*e)*o].map(h=>this._room(h)),[d,f]=[this._room(4*o),this._room(8*o)];return this.f.tuning(t.at,...i,e,o,...l,d,f),{at:d,purity:f}}polynomial(t,e,{m:n,order:r}){let{at:o}=this._tuned(t,{m:n,order:r}),a=this._copy(t),i=[this._placed(e),e.length,o,this._index(r),this._placed(this._basis(n))];return this.f.polynomial(...i,this._room(24*n),a.at,n,t.cols),a}scores(t,{labels:e,isTrain:n}){let r=this._room(48);this.f.scores(t.at,this._index(e),this._index(n),t.rows,t.cols,r);let[o,a,i,c,l,d]=new Float64Array(this.f.memory.buffer,r,6);return{train_loss:o/l,test_loss:a/d,train_acc:i/l,test_acc:c/d}}};var ne=["attn.W_Q","attn.b_Q","attn.W_K","attn.b_K","attn.W_V","attn.b_V","attn.W_O"],Ft={"mlp.W_in":-1,"mlp.b_in":-1,"mlp.W_out":-2},se=["scale","patch","move"],vs=["embed","attention","mlp","unembed","normalization"];function Wt(s){let t=s.split("."),e=t.at(-2);if(t[0]==="embed"||t[0]==="pos_embed")return"embed";if(t[0]==="unembed")return"unembed";if(t[0]==="ln_final"||e==="ln1"||e==="ln2")return"normalization";if(e==="attn")return"attention";if(e==="mlp")return"mlp";throw new Error(`no role is known for a tensor named '${s}'`)}var _s=s=>s.split(".").at(-1).startsWith("b");function Ms(s){let t="";for(let e=0;e<s.length;e++){let n=s[e]==="["?s.indexOf("]",s[e+1]==="!"?e+3:e+2):-1;if(s[e]==="*")t+=".*";else if(s[e]==="?")t+=".";else if(n>0){let r=s.slice(e+1,n).replace(/\\/g,"\\\\").replace(/^!/,"^");t+=`[${r}]`,e=n}else t+=s[e].replace(/[.+^${}()|[\]\\]/g,"\\$&")}return new RegExp(`^(?:${t})$`,"s")}function As(s,t){let e=[];if(vs.includes(t))e=s.filter(n=>Wt(n)===t);else for(let n of[t,`${t}.*`])e.length||(e=s.filter(r=>Ms(n).test(r)));if(!e.length)throw new Error(`no tensor matches '${t}'; there are ${s.join(", ")}`);return e}var ht=s=>s.reduce((t,e)=>t*e,1),Es=s=>Array.from({length:s},(t,e)=>e),Os=s=>1+Math.max(...[...s.keys()].map(t=>Number(/^blocks\.(\d+)\./.exec(t)?.[1]??-1)));function Ss(s,t){let e=[...s.keys()],n=/^(?:layer\s+(\d+)\s+)?(head|neuron)\s+((?:\d+\s*,\s*)*\d+)$/.exec(t.trim())??/^blocks\.(\d+)\.attn\.(head)\.(\d+)$/.exec(t);if(!n)return As(e,t).map(d=>({name:d,axis:0,indices:null}));let r=n[1]===void 0?Os(s)-1:Number(n[1]),o=[...new Set(n[3].match(/\d+/g).map(Number))].sort((d,f)=>d-f),a=new Map,i=s.has(`blocks.${r+1}.mlp.W_in`)?`blocks.${r+1}.mlp.W_in`:"unembed.W_U";if(n[2]==="head")for(let d of ne)a.set(`blocks.${r}.${d}`,0);else{for(let[d,f]of Object.entries(Ft))a.set(`blocks.${r}.${d}`,f);s.has(`blocks.${r}.mlp.W_out`)||a.set(i,-2)}let c=e.filter(d=>a.has(d)).map(d=>{let f=s.get(d).shape.length;return{name:d,axis:a.get(d)<0?f+a.get(d):a.get(d),indices:o}}),l=c.length?s.get(c[0].name).shape[c[0].axis]:0;if(o.some(d=>d>=l))throw new Error(`no ${t}: there are ${l} in layer ${r}`);return c}function Ns({axis:s,indices:t},e){let n=ht(e);if(!t)return Int32Array.from({length:n},(i,c)=>c);let r=ht(e.slice(s+1)),o=new Int32Array(n/e[s]*t.length),a=0;for(let i=0;i<n;i+=r*e[s])for(let c of t)for(let l=0;l<r;l++)o[a++]=i+c*r+l;return o}function re(s,t,e){let[,n,r]=/^(blocks\.\d+)\.(.*)$/.exec(s)??[null,"",s];if(e==="global")return{group:"",axes:[]};if(e==="role")return{group:Wt(s),axes:[]};if(e==="tensor")return{group:s,axes:[]};if(e==="neuron"){if(t.length<2||_s(s))return null;let o=Wt(s)==="embed"?t.length-2:t.length-1;return{group:s,axes:[...Es(t.length-2),o]}}if(e!=="head"&&e!=="part")throw new Error(`no grain '${e}'`);return ne.includes(r)?{group:`${n} head`,axes:[0]}:e==="head"?null:Object.hasOwn(Ft,r)?{group:`${n} neuron`,axes:[t.length+Ft[r]]}:{group:s,axes:[]}}function oe(s,t){let e=new Int32Array(ht(s));for(let n of t){let r=ht(s.slice(n+1));for(let o=0;o<e.length;o++)e[o]=e[o]*s[n]+Math.floor(o/r)%s[n]}return e}function ae(s,t,e){let n=new Map;for(let{name:r,at:o}of t){let{shape:a,data:i}=s.get(r),c=re(r,a,e);if(!c)continue;let l=ht(c.axes.map(h=>a[h]));n.has(c.group)||n.set(c.group,new Float64Array(l));let[d,f]=[n.get(c.group),oe(a,c.axes)];for(let h of o)d[f[h]]+=i[h]*i[h]}return new Map([...n].map(([r,o])=>[r,o.map(Math.sqrt)]))}function qs(s,t,e,n){let[r,o]=[s,t].map(h=>ae(h,e,"global").get("")[0]),a=0,i=0;for(let{name:h,at:g}of e){let[p,u]=[s,t].map(m=>m.get(h).data);for(let m of g)a+=(p[m]/r-u[m]/o)**2,i+=(p[m]/r+u[m]/o)**2}let c=2*Math.atan2(Math.sqrt(a),Math.sqrt(i));if(!(c<Math.PI-1e-6))throw new Error("no great circle leads from a network to one opposite, or to zero");let[l,d]=[1-n,n].map(h=>c>0?Math.sin(h*c)/Math.sin(c):h),f=(1-n)*r+n*o;return[l/r*f,d/o*f]}function Is(s,t,e,n){return s.kind==="scale"?[s.factor,0]:s.kind==="patch"?[0,1]:s.path==="great_circle"?qs(t,e,n,s.t):[1-s.t,s.t]}function Ls({what:s,grain:t="global"},e,n,r,o){let[a,i]=s==="radius"?[n,e]:[e,n],[c,l]=[a,i].map(d=>ae(d,r,t));for(let{name:d,at:f}of r){let{shape:h,data:g}=i.get(d),p=re(d,h,t);if(!p)continue;let u=oe(h,p.axes),m=c.get(p.group).map((y,x)=>l.get(p.group)[x]>0?y/l.get(p.group)[x]:0),b=o(d);for(let y of f)b[y]=g[y]*m[u[y]]}}function ie(s,t,e={}){let n=s;for(let r of t){if(r.kind==="ablate")continue;if(!se.includes(r.kind))throw new Error(`no edit '${r.kind}'; there are ${se.join(", ")}, ablate`);let o=n,a=Ss(o,r.weights??"*").map(l=>({name:l.name,at:Ns(l,o.get(l.name).shape)})),i=r.kind==="scale"?null:js(r.source??"source",e,o,a);n=new Map(o);let c=l=>{let{shape:d,data:f}=o.get(l);return n.set(l,{shape:d,data:f.slice()}),n.get(l).data};if(r.kind==="patch"&&(r.what??"weights")!=="weights")Ls(r,o,i,a,c);else{let[l,d]=Is(r,o,i,a);for(let{name:f,at:h}of a){let[g,p,u]=[o.get(f).data,(i??o).get(f).data,c(f)];for(let m of h)u[m]=l*g[m]+d*p[m]}}}return n}function js(s,t,e,n){let r=t[s];if(!r)throw new Error(`no checkpoint is given under the name '${s}'`);for(let o of n){let[a,i]=[e,r].map(c=>String(c.get(o.name)?.shape));if(a!==i)throw new Error(`${o.name} is of shape ${a}; in '${s}' of ${i}`)}return r}var Tt={transformer:Xt,embedding_mlp:_t,quadratic_mlp:_t,dense:_t},gt=class s{constructor(t){this.arithmetic=t}static async load(t){if(!t)return new s(new At);let{instance:e}=await WebAssembly.instantiate(t,{});return new s(new Et(e))}network({model:t,task:e,weights:n}){return new Rt(this.arithmetic,t,e instanceof it?e:new it(e),n)}};function ce(s){return s instanceof Map?s:new Map(Object.entries(s))}var Rt=class{constructor(t,e,n,r){if(!Tt[e.kind])throw new Error(`no network of kind '${e.kind}'; got ${Object.keys(Tt)}`);Object.assign(this,{x:t,model:e,task:n,weights:ce(r)}),this.layers=e.n_layers??e.depth??1}run(t=[],{sources:e={},keep:n=[]}={}){let r=Object.fromEntries(Object.entries(e).map(([d,f])=>[d,ce(f)])),o=ie(this.weights,t,r);this.x.begin();let a=te(t,this.layers-1);for(let{layer:d,said:f}of a)if(d>=this.layers)throw new Error(`no ${f}: there are ${this.layers} layers, from 0`);let i=Tt[this.model.kind](this.x,this.model,d=>this._matrix(o,d),a,this.task),c=d=>this.x.read(d),l={neurons:i.post,reads:i.pre,pattern:i.pattern};return{...this.x.scores(i.logits,this.task),logits:c(i.logits),classes:i.logits.cols,...Object.fromEntries(n.filter(d=>l[d]).map(d=>[d,c(l[d])]))}}_matrix(t,e){let{shape:n,data:r}=t.get(e)??{};if(!r)throw new Error(`the network has no tensor ${e}`);if(n.length===1||/\.b_[QKV]$/.test(e))return this.x.put(1,r.length,r);if(n.length===2)return this.x.put(...n,r);let[o,a,i]=n;if(e.endsWith("W_O"))return this.x.put(o*a,i,r);let c=new r.constructor(r.length);for(let l=0;l<o;l++)for(let d=0;d<a;d++)for(let f=0;f<i;f++)c[d*o*i+l*i+f]=r[(l*a+d)*i+f];return this.x.put(a,o*i,c)}};var mt={off:[],where:"waves",heads:[],parts:[],neurons:[],fill:"zero",radius:0,way:0,wayTo:null,taken:!1,from:null,what:"weights",weights:"*"},le=s=>[...s].sort((t,e)=>t-e).join(",");function bt(s){let t=[];s.taken&&s.from&&t.push({kind:"patch",source:"there",weights:s.weights,what:s.what}),s.way&&s.wayTo&&t.push({kind:"move",source:"end",t:s.way/100,path:"great_circle"}),s.radius&&t.push({kind:"scale",factor:(100+s.radius)/100});for(let e of s.parts)t.push(e==="pattern"?{kind:"ablate",part:e}:{kind:"ablate",part:e,fill:s.fill});for(let e of[...s.heads].sort((n,r)=>n-r))t.push({kind:"ablate",part:`head ${e}`,fill:s.fill});return s.neurons.length&&t.push({kind:"ablate",part:`neuron ${le(s.neurons)}`,fill:s.fill}),s.off.length&&t.push({kind:"ablate",part:`${s.where} ${le(s.off)}`,...s.where==="cluster"?{fill:s.fill}:{}}),t}function Ot(s){let t={};return s.taken&&s.from&&(t.there=s.from),s.way&&s.wayTo&&(t.end=s.wayTo),t}function wt(s,t,e,n){let[r,o,a]=[-1/0,-1/0,0];for(let l=0;l<e;l++){let d=s[t*e+l];a+=d/e,d>r&&(r=d),l!==n&&d>o&&(o=d)}let i=0;for(let l=0;l<e;l++)i+=Math.exp(s[t*e+l]-r);let c=s[t*e+n];return{margin:c-o,loss:Math.log(i)+r-c,right:c-a,probability:Math.exp(c-r)/i}}var Bt=s=>s<=10?s/10:1+Math.log10(s/10),Cs=s=>s<=1?s*10:10*10**(s-1);function zs(s,t){let n=[0,...s.events.filter(r=>t.every(o=>o.event(r.name))).map(r=>r.by),s.last];return[...new Set(n)].filter(r=>r<=s.last).sort((r,o)=>r-o)}function St(s,t,e){if(s==="events"){let r=zs(t,e),o=r.length-1;return{at(a){let i=0;for(;i<o-1&&a>r[i+1];)i++;return(i+(a-r[i])/(r[i+1]-r[i]))/o},step(a){let i=Math.min(o-1,Math.max(0,Math.floor(a*o)));return r[i]+(a*o-i)*(r[i+1]-r[i])},ticks:r}}let n=Math.max(1,...e.map(r=>r.last));if(s==="log"){let r=[0,10,100,1e3,1e4,1e5,1e6].filter(o=>o<=n);return{at:o=>Bt(o)/Bt(n),step:o=>Cs(o*Bt(n)),ticks:r}}return{at:r=>r/n,step:r=>r*n,ticks:yt(0,n,5)}}function yt(s,t,e){if(!(t>s))return[s];let n=(t-s)/e,r=10**Math.floor(Math.log10(n)),o=[1,2,5,10].find(i=>i*r>=n)*r,a=[];for(let i=Math.ceil(s/o-1e-9);i*o<=t+1e-9*o;i++)a.push(Number((i*o).toPrecision(12)));return a}function I(s,t=3){if(s==null||Number.isNaN(s))return"–";if(s===0)return"0";let e=Math.abs(s);return e>=1e5||e<.001?s.toExponential(Math.max(0,t-1)).replace("e+","e").replace("-","−"):Number.isInteger(s)?String(s).replace("-","−"):s.toPrecision(t).replace("-","−")}var P=s=>String(Math.round(s)).replace(/\B(?=(\d{3})+$)/g," ");var fe=3;function de({runs:s,state:t,kernel:e,host:n}){let r=new Map,o=new Map,a=new Set;function i(){let{a:y,b:x,at:v,axis:w}=t.now,_=[s[y],...x>=0&&x!==y?[s[x]]:[]],E=_.map(k=>St(w,k,_)),M=s[y].steps[v];return _.map((k,O)=>{let S=O?k.nearest(E[O].step(E[0].at(M))):v;return{run:k,axis:E[O],at:S,step:k.steps[S]}})}let c=()=>{let{run:y,step:x}=i()[0];return y.nearestWithWeights(x)},l=(y=i()[0].run,x=c())=>y.weights.get(x);function d(y,x){let v=`${y.index}@${x}`;if(!o.has(v)){o.size>=fe&&o.delete(o.keys().next().value);let w=E=>y.arrays[`task/${E}`]?.data,_={p:y.p,operation:y.operation,labels:w("labels"),is_train:w("is_train")};for(let E of["inputs","features"])w(E)&&(_[E]=w(E));o.set(v,e.network({model:y.model,task:_,weights:y.weights.get(x)}))}return o.get(v)}function f(){let{run:y}=i()[0],x=c();if(x===void 0||!y.arrays["task/labels"])return;let v=`${y.index}@${x}`;return r.has(v)||(r.size>=fe&&r.delete(r.keys().next().value),r.set(v,Fs(d(y,x).run([],{keep:["neurons","pattern"]}),y))),r.get(v)}function h(){let{run:y}=i()[0],x=c(),v=bt(t.now);if(!v.length||x===void 0)return;let w={};for(let[_,[E,M]]of Object.entries(Ot(t.now)))if(w[_]=s[E].weights.get(M),!w[_])throw new Error(`the weights of ${s[E].name} at step ${M} are on their way`);return ue(d(y,x).run(v,{sources:w}),y)}function g(y,x){let v=`${y.index}@${x}`;!n?.weights||y.weights.has(x)||a.has(v)||(a.add(v),n.weights(y.index,x))}function p(y,x,v){for(let[w,_]of Object.entries(v))s[y].add(x,w,_);t.set({arrived:`${y}@${x}`})}function u(y){let{run:x,axis:v}=i()[0],w=0;for(let _=0;_<x.steps.length;_++)Math.abs(v.at(x.steps[_])-y)<Math.abs(v.at(x.steps[w])-y)&&(w=_);t.set({at:w})}function m(y,x){let v=t.now[y];t.set({[y]:v.includes(x)?v.filter(w=>w!==x):[...v,x]})}function b(y){let{step:x}=i()[0],v=c();return v===x?y:`${y} (weights: step ${P(v)})`}return{runs:s,state:t,shown:i,weights:l,weightsStep:c,network:f,edited:h,request:g,received:p,pick:u,toggle:m,weightsNote:b}}function ue(s,t){let e=t.arrays["task/labels"].data,n=e.length,[r,o]=[0,0];for(let i=0;i<n;i++){let c=wt(s.logits,i,s.classes,e[i]);r+=c.loss/n,o+=(c.margin>0)/n}let a=t.split_is_known?{}:{train_loss:NaN,test_loss:NaN,train_acc:NaN,test_acc:NaN};return{...s,...a,all_loss:r,all_acc:o}}function Fs(s,t){let e=t.arrays["task/labels"].data.length,n=s.neurons.length/e,r=t.model.n_heads??0,o=s.pattern?s.pattern.length/e/r:0,a;return{scores:ue(s,t),classes:s.classes,width:n,logits:()=>s.logits,neuron:i=>Float32Array.from({length:e},(c,l)=>s.neurons[l*n+i]),pattern:()=>a??=Array.from({length:r},(i,c)=>Array.from({length:o},(l,d)=>Float32Array.from({length:e},(f,h)=>s.pattern[(h*o+d)*r+c])))}}var Ws="http://www.w3.org/2000/svg";function pe(s,t,e){for(let[n,r]of Object.entries(t??{}))r==null||r===!1||(n.startsWith("on")?s.addEventListener(n.slice(2),r):n==="text"?s.textContent=r:n==="value"?s.value=r:s.setAttribute(n,r===!0?"":String(r)));return s.append(...e.flat().filter(n=>n!=null&&n!==!1)),s}var $=(s,t,...e)=>pe(document.createElement(s),t,e),A=(s,t,...e)=>pe(document.createElementNS(Ws,s),t,e);function R(s,{wide:t=!1,note:e="",id:n=""}={}){let r=$("span",{class:"note",text:e}),o=$("div",{class:"body"}),a=$("span",{class:"tools"}),i=$("header",{},$("h2",{text:s}),r,a);return{el:$("section",{class:t?"panel wide":"panel",id:n,"aria-label":s},i,o),body:o,tools:a,say:l=>r.textContent=l}}function Q(s,t,e,n){let r=Object.entries(t).map(([i,c])=>$("button",{type:"button","data-value":i,"aria-pressed":String(i===e),text:c,onclick:()=>a(i,!0)})),o=$("span",{class:"choice",role:"group","aria-label":s},r);function a(i,c){for(let l of r)l.setAttribute("aria-pressed",String(l.dataset.value===i));c&&n(i)}return{el:o,set:a}}function ct(s,{value:t,min:e,max:n,step:r=1,change:o}){let a=$("input",{type:"number",value:t,min:e,max:n,step:r,"aria-label":s});return a.addEventListener("change",()=>{let i=Number(a.value);a.value=Math.min(Number(a.max),Math.max(Number(a.min),Number.isFinite(i)?i:Number(a.min))),o(Number(a.value))}),{el:$("label",{class:"field"},$("span",{text:s}),a),input:a}}function U(s,t,e,n){let r=$("select",{"aria-label":s,onchange:()=>n(r.value)}),o=(a,i)=>{r.replaceChildren(...a.map(([c,l])=>$("option",{value:c,text:l}))),i!==void 0&&(r.value=i)};return o(t,e),{el:$("label",{class:"field"},$("span",{text:s}),r),input:r,fill:o}}var Nt=class{constructor(t,e,n){Object.assign(this,t),this.index=n;let r=`${n}/`;this.arrays={},this.weights=new Map;for(let[o,a]of Object.entries(e)){if(!o.startsWith(r))continue;let i=o.slice(r.length),c=/^weights\/(\d+)\/(.+)$/.exec(i);c?this.add(Number(c[1]),c[2],a):this.arrays[i]=a}this.steps=this.arrays.steps.data,this.last=this.steps[this.steps.length-1],this.rows=new Map(this.columns.map((o,a)=>[o,a]))}add(t,e,n){this.weights.has(t)||this.weights.set(t,{}),this.weights.get(t)[e]=n}column(t){let e=this.rows.get(t),n=this.steps.length;return e===void 0?void 0:this.arrays.table.data.subarray(e*n,(e+1)*n)}history(t){let e=this.arrays[`history/${t}`];return e&&[this.arrays["history/step"].data,e.data]}spectrum(t,e){if(t==="W_E"||t==="W_L"){let n=[];for(let r=1;this.rows.has(`power_${t}[${r}]`);r++)n.push(this.column(`power_${t}[${r}]`)[e]);return n}return this.row(`spectrum ${t}`,e)}row(t,e){let n=this.arrays[t];if(!n)return;let r=n.shape[1];return n.data.subarray(e*r,(e+1)*r)}neurons(t){let e=r=>this.row(`neuron ${r}`,t);if(!e("freq"))return;let n=r=>Float32Array.from(e(r),o=>o/32767*Math.PI);return{freq:e("freq"),purity:Float32Array.from(e("purity"),r=>r/65535),u:n("u"),v:n("v"),out:n("out")}}nearest(t){let e=0;for(let n=0;n<this.steps.length;n++)Math.abs(this.steps[n]-t)<Math.abs(this.steps[e]-t)&&(e=n);return e}nearestWithWeights(t){let e;for(let n of this.weights.keys())(e===void 0||Math.abs(n-t)<Math.abs(e-t))&&(e=n);return e}event(t){return this.events.find(e=>e.name===t)}};function he(s){let t={...s},e=new Set,n=[];function r(){let o=e;e=new Set;for(let a of n)a(t,o)}return{get now(){return t},set(o){for(let[a,i]of Object.entries(o))t[a]!==i&&(e.size||queueMicrotask(r),t={...t,[a]:i},e.add(a))},on(o,a){n.push((i,c)=>{o.some(l=>c.has(l))&&a(i,c)}),a(t,new Set(o))}}}var ge=70,xt=14,Ut=14,K=38;function me(s){let{state:t,runs:e}=s,n=A("svg",{class:"strip-line","aria-hidden":"true"}),r=$("div",{class:"slider",role:"slider",tabindex:0,"aria-label":"checkpoint","aria-valuemin":0},n),o=$("button",{type:"button",class:"play",onclick:()=>t.set({playing:!t.now.playing})}),a=$("output",{class:"where","aria-live":"off"}),i=Q("axis of time",{linear:"linear",log:"log",events:"by events"},t.now.axis,g=>t.set({axis:g})),c=[];if(e.length>1){let g=e.map((m,b)=>[String(b),m.name]),p=U("run",g,String(t.now.a),m=>{let b=e[Number(m)];t.set({a:Number(m),at:b.nearest(s.shown()[0].step)})}),u=U("beside",[["-1","no other"],...g],String(t.now.b),m=>t.set({b:Number(m)}));t.on(["a","b"],m=>{p.input.value=String(m.a),u.input.value=String(m.b)}),c.push(p.el,u.el)}let l=$("div",{class:"time"},$("div",{class:"time-row controls"},o,a,i.el,...c),r);function d(g){let{run:p,axis:u,step:m}=s.shown()[0],b=n.getBoundingClientRect().width||900;n.setAttribute("viewBox",`0 0 ${b} ${ge}`);let y=_=>xt+u.at(_)*(b-xt-Ut),x=p.phases.map((_,E)=>{let[M,k]=[y(_.from),y(_.to??p.last)];return A("g",{},A("rect",{class:`band tone${E}`,x:M,width:Math.max(0,k-M),y:K-9,height:25}),k-M>7*_.name.length&&A("text",{class:"band-label",x:(M+k)/2,y:K+12,text:_.name}))});x.push(A("line",{class:"axis",x1:xt,x2:b-Ut,y1:K,y2:K}));let v=[-1/0,-1/0];for(let _ of p.events){let E=y(_.by),M=_.name.length*5.4;x.push(A("path",{class:"event",d:`M${E} ${K-9}l-4 -6h8z`},A("title",{text:`${_.name}: step ${Math.max(0,_.after)}–${_.by}`})));let k=Math.min(Math.max(E-M/2,2),b-M-2),O=v.findIndex(S=>k>S);O<0||(x.push(A("text",{class:"event-label",x:k,y:20-11*O,text:_.name})),v[O]=k+M+6)}let w=-1/0;for(let _ of u.ticks){let E=P(_),M=y(_),k=E.length*3.2;M-k<w||(w=M+k+6,x.push(A("text",{class:"tick x",x:Math.min(Math.max(M,k),b-k),y:ge-2,text:E})))}for(let _ of p.steps)x.push(A("line",{class:"checkpoint",x1:y(_),x2:y(_),y1:K-6,y2:K}));if(!p.everyStep)for(let _ of p.weights.keys())x.push(A("circle",{class:"kept",cx:y(_),cy:K,r:3.2},A("title",{text:`weights of step ${_} are on this page`})));x.push(A("line",{class:"thumb",x1:y(m),x2:y(m),y1:K-15,y2:K+15}),A("circle",{class:"thumb",cx:y(m),cy:K,r:7})),n.replaceChildren(...x.flat()),a.replaceChildren($("b",{text:`step ${P(m)}`}),` of ${P(p.last)}, checkpoint ${g.at+1} of ${p.steps.length}`),o.textContent=g.playing?"❚❚ pause":"▶ play",o.setAttribute("aria-pressed",String(g.playing)),f.set(g.axis),r.setAttribute("aria-valuemax",p.steps.length-1),r.setAttribute("aria-valuenow",g.at),r.setAttribute("aria-valuetext",`step ${m}`)}let f=i;t.on(["at","axis","a","b","playing","arrived"],d),new ResizeObserver(()=>d(t.now)).observe(n);let h=g=>{let p=n.getBoundingClientRect();s.pick(Math.min(1,Math.max(0,(g.clientX-p.left-xt)/(p.width-xt-Ut))))};return r.addEventListener("pointerdown",g=>{r.setPointerCapture(g.pointerId),h(g)}),r.addEventListener("pointermove",g=>g.buttons&&h(g)),{el:l,slider:r}}function be(s,t){let{state:e}=s,n={ArrowRight:1,ArrowUp:1,ArrowLeft:-1,ArrowDown:-1,PageUp:10,PageDown:-10,Home:-1e9,End:1e9};t.addEventListener("keydown",o=>{if(!(o.target.closest?.("input, select, textarea, pre")||o.ctrlKey||o.metaKey||o.altKey)){if(o.key===" "&&!o.target.closest?.("button"))e.set({playing:!e.now.playing}),o.preventDefault(),o.stopPropagation();else if(o.key in n){let i=s.runs[e.now.a].steps.length-1;e.set({at:Math.min(i,Math.max(0,e.now.at+n[o.key])),playing:!1}),o.preventDefault(),o.stopPropagation()}}});let r;return e.on(["playing"],o=>{if(clearInterval(r),!o.playing)return;let a=s.runs[o.a].steps.length-1;o.at>=a&&e.set({at:0}),r=setInterval(()=>{let{at:i,a:c}=e.now;i>=s.runs[c].steps.length-1?e.set({playing:!1}):e.set({at:i+1})},140)}),()=>clearInterval(r)}var H=52,Pt=10,V=8,Ts=34;function tt(s,t){let e=1/0,n=-1/0;for(let i of s)for(let c of i)!Number.isFinite(c)||t&&c<=0||(c<e&&(e=c),c>n&&(n=c));if(n>=e||([e,n]=t?[.1,1]:[0,1]),t){let[i,c]=[Math.floor(Math.log10(e)+1e-9),Math.max(Math.ceil(Math.log10(n)-1e-9),Math.floor(Math.log10(e))+1)],l=Math.max(1,Math.ceil((c-i)/6)),d=[];for(let f=c;f>=i;f-=l)d.push(10**f);return{at:f=>(Math.log10(Math.max(f,10**i))-i)/(c-i),ticks:d,format:f=>Us(f)}}n===e&&([e,n]=[e-.5,n+.5]);let r=(n-e)*.04,[o,a]=[e-r,n+r];return{at:i=>(i-o)/(a-o),ticks:yt(o,a,5),format:Rs}}var Rs=s=>s&&(Math.abs(s)>=1e5||Math.abs(s)<.001)?I(s):String(s).replace("-","−"),Bs="⁰¹²³⁴⁵⁶⁷⁸⁹";function Us(s){let t=Math.round(Math.log10(s));return t>=-1&&t<=3?String(s):`10${t<0?"⁻":""}${[...String(Math.abs(t))].map(e=>Bs[e]).join("")}`}function lt({xLabel:s,yLabel:t,pick:e,label:n}){let r=$("div",{class:"legend"}),o=A("svg",{class:"chart",role:"img","aria-label":n}),a=$("div",{class:"plot"},r,o),i,c=0,l=0;function d(f){i=f;let h=o.getBoundingClientRect();c=Math.max(160,h.width||360),l=Math.max(120,h.height||210),o.setAttribute("viewBox",`0 0 ${c} ${l}`);let{x:g,y:p,series:u,bands:m=[],now:b=[]}=f,[y,x]=[c-H-Pt,l-V-Ts],v=M=>H+g.at(M)*y,w=M=>V+(1-Math.min(1.02,Math.max(-.02,p.at(M))))*x,_=[];for(let M of m){let[k,O]=[v(M.from),v(M.to)];_.push(A("rect",{class:`band tone${M.tone}`,x:k,y:V,width:Math.max(0,O-k),height:x}))}for(let M of p.ticks){let k=w(M);p.at(M)<-.001||p.at(M)>1.001||(_.push(A("line",{class:"grid",x1:H,x2:H+y,y1:k,y2:k})),_.push(A("text",{class:"tick y",x:H-6,y:k+3.5,text:p.format(M)})))}let E=-1/0;for(let M of g.ticks){let k=v(M),O=g.format(M);_.push(A("line",{class:"grid",x1:k,x2:k,y1:V,y2:V+x}));let S=O.length*3;k-S<E+4||(E=k+S,_.push(A("text",{class:"tick x",x:Math.min(k,H+y-S+Pt),y:V+x+13,text:O})))}_.push(A("line",{class:"axis",x1:H,x2:H,y1:V,y2:V+x})),_.push(A("line",{class:"axis",x1:H,x2:H+y,y1:V+x,y2:V+x})),_.push(A("text",{class:"label",x:H+y/2,y:l-5,text:f.xLabel??s})),_.push(A("text",{class:"label",x:0,y:0,transform:`translate(11 ${V+x/2}) rotate(-90)`,text:f.yLabel??t}));for(let M of u)M.x.length===1&&Number.isFinite(M.y[0])&&_.push(A("circle",{class:"single",cx:v(M.x[0]),cy:w(M.y[0]),r:3,fill:M.colour}));for(let M of u)_.push(A("path",{class:M.pale?"line pale":"line",d:Ps(M,v,w),stroke:M.colour,"stroke-dasharray":M.dash}));for(let M of b){let k=v(M.x);M.y===void 0?_.push(A("line",{class:"now",x1:k,x2:k,y1:V,y2:V+x,stroke:M.colour})):_.push(A("circle",{class:"now",cx:k,cy:w(M.y),r:5,fill:M.colour}))}o.replaceChildren(..._),r.replaceChildren(...u.filter(M=>M.label).map(M=>Ds(M)))}if(e){o.classList.add("picked");let f=h=>{let g=o.getBoundingClientRect();e(Math.min(1,Math.max(0,((h.clientX-g.left)*(c/g.width)-H)/(c-H-Pt))),i)};o.addEventListener("pointerdown",h=>{o.setPointerCapture(h.pointerId),f(h)}),o.addEventListener("pointermove",h=>h.buttons&&f(h))}return new ResizeObserver(()=>i&&d(i)).observe(o),{el:a,draw:d}}function Ps({x:s,y:t},e,n){let r="",o=!1;for(let a=0;a<s.length;a++){let i=t[a];if(!Number.isFinite(i)){o=!1;continue}r+=`${o?"L":"M"}${e(s[a]).toFixed(1)} ${n(i).toFixed(1)}`,o=!0}return r}function Ds({label:s,colour:t,dash:e,value:n}){let r=A("svg",{class:"swatch",viewBox:"0 0 22 8","aria-hidden":"true"},A("line",{x1:0,x2:22,y1:4,y2:4,stroke:t,"stroke-dasharray":e,"stroke-width":2}));return $("span",{class:"entry"},r,$("span",{text:s}),n===void 0?null:$("b",{text:n}))}var Hs={cross_entropy:"cross-entropy (nats)",stablemax:"stablemax loss (nats)",mse:"mean squared error"},Vs=[{label:"train",history:"train_loss",colour:"var(--blue)"},{label:"test",history:"test_loss",colour:"var(--red)"},{label:"restricted (all)",column:"restricted_loss[all]",colour:"var(--green)",dash:"6 3"},{label:"excluded (train)",column:"excluded_loss[train]",colour:"var(--purple)",dash:"8 3 2 3"}],Ks=[{label:"train",history:"train_acc",colour:"var(--blue)"},{label:"test",history:"test_acc",colour:"var(--red)"},{label:"test, mirror unseen",column:"accuracy[test_mirror_unseen]",colour:"var(--orange)",dash:"2 3"}];function Gs(s,t){if(t.history)return s.history(t.history);if(t.column?.match(/^(restricted|excluded)/)&&s.loss!=="cross_entropy")return;let e=s.column(t.column);return e&&!e.every(Number.isNaN)?[s.steps,e]:void 0}function Qs([s,t],e){let n=0;for(let r=0;r<s.length;r++)Math.abs(s[r]-e)<=Math.abs(s[n]-e)&&(n=r);return t[n]}function we(s,t){let e=s.shown();return t.flatMap(n=>{let r=e.map(({run:a,step:i})=>({curve:Gs(a,n),step:i})),o=r.filter(a=>a.curve).map(a=>I(Qs(a.curve,a.step))).join(" | ");return r.map(({curve:a},i)=>a&&{label:i?void 0:n.label,colour:n.colour,dash:n.dash,value:o,pale:i>0,x:Array.from(a[0],c=>e[i].axis.at(c)),y:a[1]})}).filter(Boolean)}var Ys={at:s=>s};function ye(s){let{axis:t}=s.shown()[0];return{...Ys,ticks:t.ticks.map(e=>t.at(e)),format:e=>P(t.step(e))}}function xe(s){let{run:t,axis:e}=s.shown()[0];return t.phases.map((n,r)=>({from:e.at(n.from),to:e.at(n.to??t.last),tone:r}))}function ke(s,{title:t,label:e,yLabel:n,logarithmic:r,list:o,note:a="",domain:i}){let c=R(t,{note:a}),l=lt({xLabel:"optimizer step",yLabel:n,label:e,pick:d=>s.pick(d)});return c.body.append(l.el),s.state.on(["at","axis","a","b"],()=>{let d=we(s,o);c.say(d.length?a:"not known: the split is a stand-in for the one trained on");let f=i?{at:g=>(g-i[0])/(i[1]-i[0]),ticks:[0,.25,.5,.75,1],format:String}:tt(d.map(g=>g.y),r),h=s.shown();l.draw({x:ye(s),y:f,series:d,bands:xe(s),yLabel:typeof n=="function"?n(h[0].run):n,now:h.map(({axis:g,step:p},u)=>({x:g.at(p),colour:u?"var(--dim)":"var(--now)"}))})}),c.el}var $e=s=>ke(s,{title:"Losses",label:"losses against the step",yLabel:t=>Hs[t.loss]??t.loss,logarithmic:!0,list:Vs}),ve=s=>ke(s,{title:"Accuracies",label:"accuracies against the step",yLabel:"share of right answers",list:Ks,domain:[-.02,1.02]});function _e(s){let t=R("Polar path",{note:"norm against the angle turned since the start"}),e=lt({xLabel:"angle to the start (radians)",yLabel:"norm |θ|",label:"norm against angle"});return t.body.append(e.el),s.state.on(["at","axis","a","b"],()=>{let n=s.shown(),r=n.map(({run:a})=>[a.column("angle_start"),a.column("norm")]),o=tt(r.map(a=>a[0]),!1);e.draw({x:o,y:tt(r.map(a=>a[1]),!1),series:r.map(([a,i],c)=>({label:c?"other":"path",colour:c?"var(--dim)":"var(--blue)",x:a,y:i,pale:c>0,value:`${I(i[n[c].at])} at ${I(a[n[c].at])} rad`})),now:r.map(([a,i],c)=>({x:a[n[c].at],y:i[n[c].at],colour:c?"var(--dim)":"var(--now)"}))})}),t.el}function Me(s){let t=R("A measured column",{}),e=()=>s.shown()[0].run.columns,n=["phase_alignment","frac_explained","norm"].find(a=>e().includes(a))??e()[0],r=U("column",e().map(a=>[a,a]),n,a=>s.state.set({column:a}));t.tools.append(r.el);let o=lt({xLabel:"optimizer step",yLabel:"",label:"a measured column against the step",pick:a=>s.pick(a)});return t.body.append(o.el),s.state.set({column:n}),s.state.on(["at","axis","a","b","column"],a=>{let i=a.column??n,c=we(s,[{label:i,column:i,colour:"var(--blue)"}]);t.say(s.shown()[0].run.undefined[i]??"");let l=c.flatMap(f=>Array.from(f.y)).filter(Number.isFinite),d=l.length>0&&l.every(f=>f>0)&&Math.max(...l)>1e3*Math.min(...l);o.draw({x:ye(s),y:tt(c.map(f=>f.y),d),series:c,bands:xe(s),yLabel:i,now:s.shown().map(({axis:f,step:h},g)=>({x:f.at(h),colour:g?"var(--dim)":"var(--now)"}))})}),t.el}function qt(s){return[...JSON.stringify(s)].map(e=>{let n=e.codePointAt(0);return n<127?e:n>65535?`\\U${n.toString(16).padStart(8,"0")}`:`\\u${n.toString(16).padStart(4,"0")}`}).join("")}function Js(s){return typeof s=="string"?qt(s):String(s)}var Xs=s=>`{${Object.entries(s).map(([t,e])=>`${qt(t)}: ${Js(e)}`).join(", ")}}`;function Ae(s,t,e,n,r,o){let a=[t.index,...Object.values(r).map(([l])=>l)],i=new Map([...new Set(a)].map((l,d)=>[l,d?`run_${d+1}`:"run"])),c=[...o?["import torch"]:[],"import circuitgrok as cg","",...[...i].map(([l,d])=>s[l].path===null?`${d} = ...  # ${s[l].name}, as you opened it`:`${d} = cg.load(${qt(s[l].path)})`)];if(t.arrays["task/labels"]){c.push("edits = [",...n.map(d=>`    ${Xs(d)},`),"]"),n.length||c.splice(-2,2,"edits = []");let l=Object.entries(r).map(([d,[f,h]])=>`${qt(d)}: (${i.get(f)}, ${h})`);if(c.push(`result = cg.edited(run, ${e}, edits${l.length?`, sources={${l.join(", ")}}`:""})`),o&&t.split_is_known)for(let d of["train_loss","test_loss","train_acc","test_acc"])c.push(`result.${d}  # ${Number(o[d]).toPrecision(8)}`);o&&c.push(`all_loss = torch.nn.functional.cross_entropy(result.logits, run.task.labels)  # ${Number(o.all_loss).toPrecision(8)}`),c.push("")}return t.model.kind==="transformer"&&c.push(`bridge = cg.lens.bridge(run, ${e})  # the network in TransformerLens, with every hook`),c.push(`row = cg.measure(run, steps=${e})  # every quick measure of this checkpoint`),c.join(`
`)}var Zs=[["train_loss","train loss (nats)"],["test_loss","test loss (nats)"],["all_loss","loss of all (nats)"],["train_acc","train accuracy"],["test_acc","test accuracy"],["all_acc","accuracy of all"]],Ee={mlp:"MLP",attention:"attention",pattern:"pattern → uniform",skip:"skip"},tn={waves:"in neurons",excluded:"in logits",cluster:"their neurons"},Se=Object.keys(mt);function Ne(s){let t=R("Hands on the model",{wide:!0}),{state:e}=s,{run:n}=s.shown()[0],r=w=>!n.missing[w],o=$("button",{type:"button",text:"undo all",onclick:()=>e.set(mt)});t.tools.append(o);let a=$("div",{class:"hands controls"}),i=(w,..._)=>a.append($("div",{class:"hand"},$("span",{class:"hand-label",text:w}),$("div",{class:"hand-body"},..._))),c=(w,_,E)=>{let M=new Map(_.map(k=>[k,$("button",{type:"button",class:"chip",text:E(k),onclick:()=>s.toggle(w,k)})]));return e.on([w],k=>M.forEach((O,S)=>O.setAttribute("aria-pressed",String(k[w].includes(S))))),$("div",{class:"chips"},...M.values())};if(r("spectrum")){let w=Array.from({length:Math.floor(n.m/2)},(k,O)=>O+1),_=Q("where",tn,"waves",k=>e.set({where:k})),E=$("button",{type:"button",class:"chip",text:"all key",onclick:()=>e.set({off:n.key_freqs})}),M=c("off",w,String);w.forEach((k,O)=>n.key_freqs.includes(k)&&M.children[O].classList.add("key")),M.prepend(E),i("frequencies off",M,_.el),e.on(["where"],k=>_.set(k.where))}let l=Q("what stands in the place",{zero:"zero",mean:"mean"},"zero",w=>e.set({fill:w}));if(e.on(["fill"],w=>l.set(w.fill)),n.model.kind==="transformer"&&i("heads, parts off",c("heads",Array.from({length:n.model.n_heads},(w,_)=>_),w=>`head ${w}`),c("parts",Object.keys(Ee),w=>Ee[w]),l.el),r("neurons")){let w=$("span",{class:"said"}),_=$("button",{type:"button",class:"chip",text:"those of the circle's k",onclick:()=>{let{run:k,at:O}=s.shown()[0],S=k.neurons(O);e.set({neurons:Array.from(S.freq.keys()).filter(j=>S.freq[j]===e.now.freq)})}}),E=$("button",{type:"button",class:"chip",text:"none",onclick:()=>e.set({neurons:[]})}),M=ct("one",{value:0,min:0,max:1e6,change:k=>s.network()&&k<s.network().width&&s.toggle("neurons",k)});e.on(["neurons"],k=>w.textContent=k.neurons.length?`${k.neurons.length} off: ${[...k.neurons].sort((O,S)=>O-S).slice(0,12).join(", ")}${k.neurons.length>12?", …":""}`:"none off"),i("neurons off",_,E,M.el,w,...n.model.kind==="transformer"?[]:[l.el])}i("radius",Oe(e,"radius",-60,100,w=>`${w>0?"+":""}${w} %`));let d=()=>s.runs.flatMap(w=>[...w.everyStep?w.steps:w.weights.keys()].sort((_,E)=>_-E).map(_=>[`${w.index}@${_}`,`${s.runs.length>1?`${w.name}, `:""}step ${P(_)}`])),f=(w,_)=>{let[E,M]=w.split("@").map(Number);s.request(s.runs[E],M),e.set({[_]:[E,M]})},h=d(),g=h[h.length-1]?.[0],p=U("to",h,g,w=>f(w,"wayTo")),u=U("from",h,g,w=>f(w,"from"));if(g){let[w,_]=g.split("@").map(Number);e.set({wayTo:[w,_],from:[w,_]})}i("along the path",Oe(e,"way",0,100,w=>`${w} %`),p.el);let m=$("input",{type:"checkbox","aria-label":"transplant",onchange:()=>e.set({taken:m.checked})}),b=U("take",[["weights","weights"],["radius","radius"],["direction","direction"]],"weights",w=>e.set({what:w})),y=U("of",en(n),"*",w=>e.set({weights:w}));e.on(["taken","what","weights"],w=>{m.checked=w.taken,b.input.value=w.what,y.input.value=w.weights}),i("transplant",$("label",{class:"field"},m,$("span",{text:"on"})),b.el,y.el,u.el);let x=$("table",{class:"scores"}),v=$("p",{class:"said",role:"status"});return t.body.append($("div",{class:"hands-grid"},a,$("div",{},x,v))),e.on([...Se,"opened","arrived"],w=>{let _=s.network()?.scores;if(!_)return;let E,M="",k=performance.now();try{E=s.edited()}catch(L){M=L.message}let O=performance.now()-k;e.set({result:E,wrong:M});let S=bt(w);v.textContent=M||(S.length?`${S.length} edit${S.length>1?"s":""}, computed in this page in ${Math.max(1,Math.round(O))} ms`:"nothing is changed"),x.replaceChildren($("thead",{},$("tr",{},["","as it is","edited"].map(L=>$("th",{scope:"col",text:L})))),$("tbody",{},Zs.map(([L,q])=>$("tr",{"data-score":L},$("th",{scope:"row",text:q}),$("td",{text:I(_[L],5),"data-value":_[L]}),$("td",{text:E?I(E[L],5):"–","data-value":E?E[L]:""})))));let{run:j}=s.shown()[0];t.say(`at step ${P(s.weightsStep())}${j.temperature===1?"":`; losses of the logits as they are, not divided by ${j.temperature}`}`)}),t.el}function Oe(s,t,e,n,r){let o=$("input",{type:"range",min:e,max:n,step:1,value:0,"aria-label":t==="radius"?"change of the radius in percent":"share of the way in percent"}),a=$("output",{text:r(0)});return o.addEventListener("input",()=>s.set({[t]:Number(o.value)})),s.on([t],i=>{o.value=i[t],a.textContent=r(i[t])}),$("label",{class:"field long"},o,a)}function en(s){if(s.model.kind!=="transformer")return[["*","all weights"],["embed","embedding"],["mlp","MLP"],["unembed","unembedding"]].filter(([r])=>r!=="embed"||s.model.kind==="embedding_mlp");let{n_layers:t,n_heads:e}=s.model,n=t>1;return[["*","all weights"],["embed","embedding"],["attention","attention"],["mlp","MLP"],["unembed","unembedding"],...Array.from({length:n?t:0},(r,o)=>[`blocks.${o}`,`layer ${o}`]),...Array.from({length:t*e},(r,o)=>{let[a,i]=[Math.floor(o/e),o%e],c=n&&a<t-1?`layer ${a} head ${i}`:`head ${i}`;return[c,n?`layer ${a} head ${i}`:c]})]}function qe(s){let t=R("As Python",{note:"gives the numbers above",wide:!0}),e=$("pre",{tabindex:0,"aria-label":"Python lines"}),n=$("button",{type:"button",text:"copy as Python",onclick:async()=>{let r=!0;try{await navigator.clipboard.writeText(e.textContent)}catch{getSelection().selectAllChildren(e),r=document.execCommand("copy")}n.textContent=r?"copied":"select and copy",setTimeout(()=>n.textContent="copy as Python",1500)}});return t.tools.append(n),t.body.append(e),s.state.on([...Se,"opened","result"],r=>{let{run:o}=s.shown()[0];e.textContent=Ae(s.runs,o,s.weightsStep()??s.shown()[0].step,bt(r),Ot(r),r.result??s.network()?.scores)}),t.el}var Ie="00224e 002e6a 1a386f 32436d 434e6c 535a6d 61656f 6f7073 7d7c78 8c8878 9b9476 aba072 bcae6c cdbb63 dec958 f0d846 fee838",Le="0b3c6f 1f5f9b 4a86bd 86b0d6 bfd6e8 eef0f0 f5d9bd eeb27d dd843f c45a16 8a3a06",sn=s=>s.split(" ").map(t=>[0,2,4].map(e=>parseInt(t.slice(e,e+2),16)));function je(s){let t=sn(s),e=t.length-1,n=new Uint8Array(256*3);for(let r=0;r<256;r++){let o=r/255*e,a=Math.min(e-1,Math.floor(o)),i=o-a;for(let c=0;c<3;c++)n[3*r+c]=Math.round(t[a][c]*(1-i)+t[a+1][c]*i)}return n}var Ce=je(Ie),nn=je(Le),rn=s=>`linear-gradient(to right, ${s.split(" ").map(t=>`#${t}`).join(",")})`;function on(s,t){let e=1/0,n=-1/0;for(let r of s)Number.isFinite(r)&&(r<e&&(e=r),r>n&&(n=r));if(!(n>=e))return[0,1];if(t){let r=Math.max(Math.abs(e),Math.abs(n))||1;return[-r,r]}return n>e?[e,n]:[e,e+1]}function ft({label:s,rowLabel:t,columnLabel:e,pick:n,bar:r=!0,small:o=!1}){let a=$("canvas",{role:"img","aria-label":s}),i=$("i",{class:"mark",hidden:!0}),c=$("div",{class:"frame"},a,i),l=$("span",{class:"reading"}),[d,f]=[$("span"),$("span")],h=$("i",{class:"scale"}),g=o?$("div",{class:"small-title"}):null,p=$("figure",{class:o?"heat small":"heat"},g,$("div",{class:"row-label",text:t}),c,$("div",{class:"column-label",text:e}),r?$("div",{class:"bar"},d,h,f,l):null),u;function m(x){u=x;let{values:v,rows:w,columns:_,signed:E=!1}=x,[M,k]=x.limits??on(v,E),O=E?nn:Ce;a.width=_,a.height=w;let S=a.getContext("2d"),j=S.createImageData(_,w);for(let L=0;L<w*_;L++){let q=v[L],N=Number.isFinite(q),F=3*Math.max(0,Math.min(255,Math.round((q-M)/(k-M||1)*255)));for(let z=0;z<3;z++)j.data[4*L+z]=N?O[F+z]:128;j.data[4*L+3]=N?255:40}S.putImageData(j,0,0),c.style.aspectRatio=`${_} / ${w}`,d.textContent=I(M),f.textContent=I(k),h.style.background=rn(E?Le:Ie),g&&(g.textContent=x.title??""),i.hidden=!x.mark,x.mark&&(i.style.left=`${(x.mark[1]+.5)/_*100}%`,i.style.top=`${(x.mark[0]+.5)/w*100}%`),b(x.mark)}function b(x){let v=x&&u.read?u.read(x[0],x[1],u.values[x[0]*u.columns+x[1]]):"";l.textContent=v}let y=x=>{let v=a.getBoundingClientRect(),w=Math.floor((x.clientY-v.top)/v.height*u.rows),_=Math.floor((x.clientX-v.left)/v.width*u.columns);return w>=0&&_>=0&&w<u.rows&&_<u.columns?[w,_]:void 0};return a.addEventListener("pointermove",x=>{if(!u)return;let v=y(x);b(v??u.mark),g&&v&&u.read&&(a.title=u.read(...v,u.values[v[0]*u.columns+v[1]]))}),a.addEventListener("pointerleave",()=>u&&b(u.mark)),n&&(a.classList.add("picked"),a.addEventListener("click",x=>{let v=u&&y(x);v&&n(...v)})),{el:p,draw:m}}function ze(s){let t=3*Math.max(0,Math.min(255,Math.round(s*255))),[e,n,r]=Ce.subarray(t,t+3);return{css:`rgb(${e} ${n} ${r})`,ink:.299*e+.587*n+.114*r<128?"#fff":"#000"}}function an(s){let t=[new Float64Array(s).fill(1/Math.sqrt(s))];for(let e=1;e<=s/2;e++){let[n,r]=[new Float64Array(s),new Float64Array(s)];for(let o=0;o<s;o++){let a=2*Math.PI*(e*o%s)/s;n[o]=Math.cos(a)*Math.sqrt((2*e===s?1:2)/s),r[o]=Math.sin(a)*Math.sqrt(2/s)}t.push(n),2*e!==s&&t.push(r)}return t}function Fe(s,t){let e=an(t),n=Math.floor(t/2)+1,r=new Float64Array(t*t);for(let a=0;a<t;a++)for(let i=0;i<t;i++){let c=e[a][i];for(let l=0;l<t;l++)r[a*t+l]+=c*s[i*t+l]}let o=new Float64Array(n*n);for(let a=0;a<t;a++){let i=Math.ceil(a/2);for(let c=0;c<t;c++){let l=0;for(let d=0;d<t;d++)l+=r[a*t+d]*e[c][d];o[i*n+Math.ceil(c/2)]+=l*l}}return{norms:o.map(Math.sqrt),n}}function We(s,t,e,n){let[r,o]=[new Float64Array(e),new Float64Array(e)];for(let f=0;f<t;f++){let h=2*Math.PI*(n*f%t)/t;for(let g=0;g<e;g++)r[g]+=Math.cos(h)*s[f*e+g],o[g]+=Math.sin(h)*s[f*e+g]}let a=(f,h)=>f.reduce((g,p,u)=>g+p*h[u],0),i=Math.sqrt(a(r,r))||1;r.forEach((f,h)=>r[h]=f/i);let c=a(r,o);o.forEach((f,h)=>o[h]=f-c*r[h]);let l=Math.sqrt(a(o,o))||1;o.forEach((f,h)=>o[h]=f/l);let d=new Float64Array(e);for(let f=0;f<t;f++)for(let h=0;h<e;h++)d[h]+=s[f*e+h]/t;return Array.from({length:t},(f,h)=>{let[g,p]=[0,0];for(let u=0;u<e;u++){let m=s[h*e+u]-d[u];g+=m*r[u],p+=m*o[u]}return[g,p]})}function Dt(s,t,e=1,n=0){let r=s.arrays["task/pairs"].data;return Float32Array.from(r,o=>t[o*e+n])}function Y(s){let[t,e,n]=[s.arrays["task/pairs"].data,s.arrays["task/inputs"].data,s.m],r=new Map;return t.forEach((o,a)=>r.set(`${e[3*o]},${e[3*o+1]}`,a)),{place:([o,a])=>{let i=r.get(`${o},${a}`);return i===void 0?void 0:[Math.floor(i/n),i%n]},pair:(o,a)=>{let i=t[o*n+a];return[e[3*i],e[3*i+1]]},index:(o,a)=>t[o*n+a]}}var cn={add:["a","b"],subtract:["a","−b"],multiply:["log a","log b"],divide:["log a","−log b"]},Re=s=>cn[s.operation]??["a","b"];function Be(s){let{equals:t}=s.shown()[0].run.model,e=R(`Attention of ‘${t?"=":"b"}’`,{note:"by head, for every pair"}),n=Q("to",{0:"to a",1:"to b",...t?{2:"to ="}:{}},"0",a=>s.state.set({position:Number(a)}));e.tools.append(n.el);let r=$("div",{class:"multiples"});e.body.append(r);let o=[];return s.state.on(["opened","position","pair","heads"],a=>{let i=s.network();if(!i)return;let{run:c}=s.shown()[0],l=Re(c),d=Y(c),f=i.pattern();o.length!==f.length&&(o=f.map((h,g)=>ft({label:`attention of head ${g}`,rowLabel:l[0],columnLabel:l[1],small:!0,bar:!1,pick:(p,u)=>s.state.set({pair:d.pair(p,u),picture:"head",head:g})})),r.replaceChildren(...o.map(h=>h.el))),f.forEach((h,g)=>{let p=Dt(c,h[a.position]),u=p.reduce((m,b)=>m+b,0)/p.length;o[g].draw({values:p,rows:c.m,columns:c.m,limits:[0,1],mark:d.place(a.pair),title:`head ${g}, mean ${I(u,2)}${a.heads.includes(g)?" (off)":""}`,read:(m,b,y)=>`head ${g}, a = ${d.pair(m,b)[0]}, b = ${d.pair(m,b)[1]}: ${I(y)}`})}),e.say(s.weightsNote("by head, dark 0 to bright 1"))}),e.el}function Ue(s){let t=R("A neuron, head or logit",{wide:!0}),e=s.state.now,n=Q("what",{neuron:"neuron",head:"head (a − b)",logit:"logit of c"},e.picture,l=>s.state.set({picture:l})),r=ct("number",{value:0,min:0,max:0,change:l=>s.state.set({[Te[s.state.now.picture]]:l})});t.tools.append(n.el,r.el);let{run:o}=s.shown()[0],a=Re(o),i=ft({label:"value for every pair",rowLabel:a[0],columnLabel:a[1],pick:(l,d)=>s.state.set({pair:Y(s.shown()[0].run).pair(l,d)})}),c=ft({label:"norm by frequency",rowLabel:`frequency in ${a[0]}`,columnLabel:`frequency in ${a[1]}`});return t.body.append($("div",{class:"pair-of"},i.el,c.el)),s.state.on(["opened","picture","neuron","head","logit","pair"],l=>{let d=s.network();if(!d)return;let{run:f}=s.shown()[0],h=Y(f),g=f.m;n.set(l.picture);let p={neuron:d.width,head:f.model.n_heads,logit:d.classes}[l.picture]-1,u=Math.min(l[Te[l.picture]],p);Object.assign(r.input,{max:p,value:u});let m=dn(d,f,l.picture,u),b=l.picture!=="neuron";i.draw({values:m,rows:g,columns:g,signed:b,mark:h.place(l.pair),read:(w,_,E)=>`a = ${h.pair(w,_)[0]}, b = ${h.pair(w,_)[1]}: ${I(E)}`});let y=m.reduce((w,_)=>w+_,0)/m.length,{norms:x,n:v}=Fe(m.map(w=>w-y),g);c.draw({values:x,rows:v,columns:v,read:(w,_,E)=>`k of ${a[0]} ${w}, of ${a[1]} ${_}: ${I(E)}`,mark:fn(x,v)}),t.say(s.weightsNote(`${ln[l.picture]}; right: its waves, constant removed`))}),t.el}var Te={neuron:"neuron",head:"head",logit:"logit"},ln={neuron:"after the nonlinearity",head:"attention to a less attention to b",logit:"less the pair’s mean"};function fn(s,t){let e=0;return s.forEach((n,r)=>n>s[e]&&(e=r)),[Math.floor(e/t),e%t]}function dn(s,t,e,n){if(e==="neuron")return Dt(t,s.neuron(n));if(e==="head"){let[a,i]=s.pattern()[n];return Dt(t,a.map((c,l)=>c-i[l]))}let r=s.logits(),o=s.classes;return Float32Array.from(t.arrays["task/pairs"].data,a=>{let i=0;for(let c=0;c<o;c++)i+=r[a*o+c]/o;return r[a*o+n]-i})}var un={margin:"right logit less the largest other",loss:"cross-entropy (nats)",right:"right logit less the mean of all"};function Pe(s){let t=s.state.now.result;if(t?.logits)return{logits:t.logits,classes:t.classes,edited:!0};let e=s.network();return e&&{logits:e.logits(),classes:e.classes,edited:!1}}function De(s){let t=R("Logits by sum and difference",{}),e=Q("what",{margin:"margin",loss:"loss",right:"right logit"},"margin",r=>s.state.set({read:r}));t.tools.append(e.el);let n=ft({label:"by sum and difference",rowLabel:"a + b mod p",columnLabel:"a − b mod p",pick:(r,o)=>{let{run:a}=s.shown()[0],i=a.m;for(let c=0;c<i;c++)if(2*c%i===(r+o)%i)return s.state.set({pair:Y(a).pair(c,(r-c+i)%i)})}});return t.body.append(n.el),s.state.on(["opened","result","read","pair"],r=>{let o=Pe(s);if(!o)return;let{run:a}=s.shown()[0],i=a.m,[c,l]=[a.arrays["task/pairs"].data,a.arrays["task/labels"].data],[d,f]=[new Float64Array(i*i),new Float64Array(i*i)];for(let p=0;p<i;p++)for(let u=0;u<i;u++){let m=c[p*i+u],b=(p+u)%i*i+(p-u+i)%i;d[b]+=wt(o.logits,m,o.classes,l[m])[r.read],f[b]+=1}let h=Y(a).place(r.pair),g=d.map((p,u)=>p/f[u]);n.draw({values:g,rows:i,columns:i,signed:g.some(p=>p<0),mark:h&&[(h[0]+h[1])%i,(h[0]-h[1]+i)%i],read:(p,u,m)=>`sum ${p}, difference ${u}: ${I(m)}`}),t.say(s.weightsNote(`${un[r.read]}${o.edited?", edited":""}`))}),t.el}function He(s){let t=R("One pair",{}),{run:e}=s.shown()[0],n=e.arrays["task/inputs"].data,[r,o]=[Math.min(n[0],n[1]),e.p-1],a=["a","b"].map((d,f)=>ct(d,{value:s.state.now.pair[f],min:r,max:o,change:h=>s.state.set({pair:s.state.now.pair.map((g,p)=>f===p?h:g)})}));t.tools.append(...a.map(d=>d.el));let i=A("svg",{class:"chart short",role:"img","aria-label":"logits of the pair by class"}),c=$("p",{class:"said"});t.body.append(c,i);let l=d=>{let f=Pe(s);if(!f)return;let{run:h}=s.shown()[0];a.forEach((S,j)=>S.input.value=d.pair[j]);let g=Y(h).place(d.pair);if(!g)return;let p=Y(h).index(...g),u=h.arrays["task/labels"].data[p],m=f.classes,b=s.network()?.logits(),y=Array.from(f.logits.subarray(p*m,p*m+m)),x=f.edited&&b?Array.from(b.subarray(p*m,p*m+m)):null;pn(i,y,x,u);let{loss:v,probability:w}=wt(f.logits,p,m,u),_=y.indexOf(Math.max(...y)),E=h.arrays["task/is_train"].data,M=Y(h).place([d.pair[1],d.pair[0]]),k=M&&E[Y(h).index(...M)],O=h.split_is_known?E[p]?"trained on":k?"test, its mirror (b, a) trained on":"test, its mirror not trained on":"split not known";c.textContent=`(${d.pair.join(", ")}) → ${u}: ${O}. Answer ${_}, ${_===u?"right":"wrong"}; probability of ${u} ${I(w)}, loss ${I(v)} nats`,t.say(s.weightsNote(f.edited?"edited; outlines: as it was":"logits by class"))};return s.state.on(["opened","result","pair"],l),new ResizeObserver(()=>l(s.state.now)).observe(i),t.el}function pn(s,t,e,n){let r=s.getBoundingClientRect(),[o,a,i,c,l]=[r.width||360,r.height||190,46,6,32];s.setAttribute("viewBox",`0 0 ${o} ${a}`);let d=tt([t,e??[],[0]],!1),[f,h]=[o-i-6,a-c-l],g=f/t.length,p=b=>c+(1-d.at(b))*h,u=[];for(let b of d.ticks)u.push(A("line",{class:"grid",x1:i,x2:i+f,y1:p(b),y2:p(b)}),A("text",{class:"tick y",x:i-5,y:p(b)+3.5,text:I(b)}));let m=(b,y,x)=>A("rect",{class:x,x:i+y*g+g*.12,width:g*.76,y:Math.min(p(b),p(0)),height:Math.abs(p(b)-p(0))},A("title",{text:`class ${y}: ${I(b)}`}));t.forEach((b,y)=>u.push(m(b,y,y===n?"bar-of key":"bar-of plain"))),e?.forEach((b,y)=>u.push(m(b,y,"outline")));for(let b of[...yt(0,t.length-1,6)].filter(y=>Math.abs(y-n)*g>16))u.push(A("text",{class:"tick x",x:i+(b+.5)*g,y:c+h+13,text:b}));u.push(A("text",{class:"tick x key",x:i+(n+.5)*g,y:c+h+13,text:n})),u.push(A("line",{class:"axis",x1:i,x2:i+f,y1:p(0),y2:p(0)})),u.push(A("text",{class:"label",x:i+f/2,y:a-4,text:"class c (right answer in orange)"})),u.push(A("text",{class:"label",x:0,y:0,transform:`translate(10 ${c+h/2}) rotate(-90)`,text:"logit"})),s.replaceChildren(...u)}var Ve=["var(--blue)","var(--red)","var(--green)","var(--purple)","var(--orange)","var(--sky)"],dt=.85;function Ke(s){let t=R("Neurons",{wide:!0}),e=U("circle of k",[],void 0,l=>s.state.set({freq:Number(l)}));t.tools.append(e.el);let n=A("svg",{class:"strip",role:"img","aria-label":"neurons by frequency and purity"}),r=A("svg",{class:"ring",role:"img","aria-label":"numbers on the circle of a frequency"}),o=A("svg",{class:"ring",role:"img","aria-label":"phases of neurons"}),[a,i]=[$("figcaption"),$("figcaption")];t.body.append($("div",{class:"neurons"},$("figure",{},n,$("figcaption",{text:"each neuron: share of its variance at its own frequency; click: picture, shift-click: switch off"})),$("figure",{},r,a),$("figure",{},o,i)));let c=l=>{let{run:d,at:f}=s.shown()[0],h=d.neurons(f);if(!h)return;let g=hn(h),p=g.has(l.freq)||d.key_freqs.includes(l.freq)?l.freq:d.key_freqs[0]??[...g.keys()][0]??1;e.fill([...new Set([...d.key_freqs,...g.keys()])].sort((b,y)=>b-y).map(b=>[String(b),`${b}${d.key_freqs.includes(b)?" (key)":""}`]),String(p));let u=b=>d.key_freqs.includes(b)?Ve[d.key_freqs.indexOf(b)%Ve.length]:"var(--dim)";gn(s,n,h,u,l),mn(s,r,a,d,p),wn(s,o,i,h,p,u(p),l);let m=h.purity.reduce((b,y)=>b+(y>=dt),0);t.say(`${m} of ${h.purity.length} are pure (≥ ${dt}); clusters ${[...g].map(([b,y])=>`${b}: ${y}`).join(", ")||"none"}`)};return s.state.on(["at","a","opened","freq","neuron","neurons"],c),new ResizeObserver(()=>c(s.state.now)).observe(t.body),t.el}function hn({freq:s,purity:t}){let e=new Map;return s.forEach((n,r)=>n&&t[r]>=dt&&e.set(n,(e.get(n)??0)+1)),new Map([...e].sort((n,r)=>n[0]-r[0]))}function gn(s,t,{freq:e,purity:n},r,o){let a=t.getBoundingClientRect().width||360,i=320,c=38,l=6,d=30;t.setAttribute("viewBox",`0 0 ${a} ${i}`);let f=Array.from(e.keys()).sort((v,w)=>e[v]-e[w]||n[w]-n[v]),[h,g]=[a-c-6,i-l-d],p=v=>c+(v+.5)/f.length*h,u=v=>l+(1-v)*g,m=[];for(let v of[0,.5,dt,1])m.push(A("line",{class:"grid",x1:c,x2:c+h,y1:u(v),y2:u(v)}),A("text",{class:"tick y",x:c-5,y:u(v)+3.5,text:v}));let b=0,y=-1/0;for(let v=1;v<=f.length;v++){if(v<f.length&&e[f[v]]===e[f[b]])continue;let w=e[f[b]],_=(p(b)+p(v-1))/2;b&&m.push(A("line",{class:"grid",x1:(p(b-1)+p(b))/2,x2:(p(b-1)+p(b))/2,y1:l,y2:l+g})),_-y>16&&(m.push(A("text",{class:"tick x",x:_,y:l+g+13,fill:r(w),text:w||"–"})),y=_),b=v}let x=new Set(o.neurons);f.forEach((v,w)=>{m.push(A("circle",{class:x.has(v)?"dot off":"dot",cx:p(w),cy:u(n[v]),r:v===o.neuron?5:2.4,fill:r(e[v]),stroke:v===o.neuron?"var(--ink)":void 0,onclick:_=>_.shiftKey?s.toggle("neurons",v):s.state.set({neuron:v,picture:"neuron",freq:e[v]||s.state.now.freq})},A("title",{text:`neuron ${v}: k = ${e[v]}, purity ${I(n[v])}${x.has(v)?", switched off":""}`})))}),m.push(A("text",{class:"label",x:c+h/2,y:i-4,text:"neurons, by their frequency k"})),m.push(A("text",{class:"label",x:0,y:0,transform:`translate(10 ${l+g/2}) rotate(-90)`,text:"purity"})),t.replaceChildren(...m)}function mn(s,t,e,n,r){t.setAttribute("viewBox","-100 -100 200 200");let o=s.weights();if(!o)return;let a=o["embed.W_E"]??o["blocks.0.mlp.W_in"],i=a.shape[1],c=n.arrays["task/tokens"].data,l=Float64Array.from({length:n.m*i},(u,m)=>a.data[c[Math.floor(m/i)]*i+m%i]),d=We(l,n.m,i,r),f=Math.max(...d.map(([u,m])=>Math.hypot(u,m)))||1,h=d.map(([u,m])=>[u/f*84,-m/f*84]),g=bn(r,n.m),p=Array.from({length:n.m},(u,m)=>h[m*g%n.m]);t.replaceChildren(A("circle",{class:"grid",r:84,fill:"none"}),A("polygon",{class:"around",points:p.map(u=>u.map(m=>m.toFixed(1)).join(" ")).join(" ")}),...h.map(([u,m],b)=>A("circle",{class:"dot",cx:u,cy:m,r:n.m>60?1.8:2.6,fill:"var(--blue)"},A("title",{text:`number ${c[b]}`}))),...h.map(([u,m],b)=>(n.m<=40||b%8===0)&&A("text",{class:"tick ring-label",x:u*1.13,y:m*1.13+3,text:c[b]})).filter(Boolean)),e.textContent=`numbers in the plane of cos, sin ${r} of the embedding, joined in the order of ${r}·x`}function bn(s,t){for(let e=1;e<t;e++)if(s*e%t===1)return e;return 1}function wn(s,t,e,n,r,o,a){t.setAttribute("viewBox","-100 -100 200 200");let i=p=>p-2*Math.PI*Math.round(p/(2*Math.PI)),c=p=>p/Math.PI*80,l=Array.from(n.freq.keys()).filter(p=>n.freq[p]===r),d=l.filter(p=>n.purity[p]>=dt),f=[[-1,"−π"],[0,"0"],[1,"π"]];t.replaceChildren(A("rect",{class:"grid",x:-80,y:-80,width:160,height:160,fill:"none"}),A("line",{class:"grid diagonal",x1:-80,y1:80,x2:80,y2:-80}),...f.flatMap(([p,u])=>[A("text",{class:"tick ring-label",x:p*80,y:91,text:u}),A("text",{class:"tick y",x:-83,y:-p*80+3,text:u})]),A("text",{class:"label",x:0,y:99,text:"u + v (read)"}),A("text",{class:"label",x:0,y:0,transform:"translate(-92 0) rotate(-90)",text:"out (written)"}),...l.map(p=>A("circle",{class:n.purity[p]<dt?"dot pale":"dot",cx:c(i(n.u[p]+n.v[p])),cy:-c(n.out[p]),r:p===a.neuron?4.5:2,fill:o,stroke:p===a.neuron?"var(--ink)":void 0,onclick:()=>s.state.set({neuron:p,picture:"neuron"})},A("title",{text:`neuron ${p}: u ${I(n.u[p])}, v ${I(n.v[p])}, out ${I(n.out[p])}`}))));let[h,g]=[0,0];for(let p of d){let u=n.out[p]-n.u[p]-n.v[p];h+=Math.cos(u)/d.length,g+=Math.sin(u)/d.length}e.textContent=`phases of the ${l.length} neurons of k = ${r}, ${d.length} of them pure: alignment ${d.length?I(Math.hypot(h,g)):"–"}`}var yn=[{name:"W_E",label:"embedding"},{name:"neurons",label:"neurons"},{name:"logits",label:"logits"}];function Ge(s){let t=R("Spectrum",{note:"energy by frequency, as a share of all; click: switch off"}),e=yn.map(r=>{let o=A("svg",{class:"bars",role:"img","aria-label":`spectrum of the ${r.label}`}),a=$("b");return t.body.append($("div",{class:"legend"},$("span",{class:"entry"},$("span",{text:r.label}),a)),o),{...r,svg:o,value:a}}),n=r=>{let{run:o,at:a}=s.shown()[0];e.forEach((i,c)=>xn(s,i,o,a,r,c===e.length-1))};return s.state.on(["at","a","off","freq"],n),new ResizeObserver(()=>n(s.state.now)).observe(t.body),t.el}function xn(s,{name:t,label:e,svg:n,value:r},o,a,i,c){let l=Array.from(o.spectrum(t,a)),d=l.reduce((M,k)=>M+k,0)||1,f=l.map(M=>t==="neurons"?M:M/d),h=n.getBoundingClientRect().width||360,g=c?128:108,p=40,u=c?30:12;n.setAttribute("viewBox",`0 0 ${h} ${g}`),n.style.height=`${g}px`;let m=Math.max(...f,1e-9),b=(h-p-4)/f.length,y=g-u-4,x=new Set(o.key_freqs),v=new Set(i.off),w=[A("text",{class:"tick y",x:p-5,y:11,text:I(m,2)}),A("text",{class:"tick y",x:p-5,y:4+y,text:"0"}),A("line",{class:"axis",x1:p,x2:h-4,y1:4+y,y2:4+y})],_=Math.ceil(f.length/Math.floor((h-p)/26));f.forEach((M,k)=>{let O=k+1,S=Math.max(0,M/m*y),j=p+k*b,L=v.has(O)?"off":x.has(O)?"key":"plain",q=A("rect",{class:"hit",x:j,y:0,width:b,height:g-u,onclick:()=>s.toggle("off",O)},A("title",{text:`k = ${O}: ${I(M)} of the ${e}${x.has(O)?", key":""}${v.has(O)?", switched off":""}`}));w.push(A("rect",{class:`bar-of ${L}`,x:j+b*.12,y:4+y-S,width:b*.76,height:S}),q),c&&kn(O,x,b,_)&&w.push(A("text",{class:x.has(O)?"tick x key":"tick x",x:j+b/2,y:g-u+12,text:O}))}),c&&w.push(A("text",{class:"label",x:p+(h-p)/2,y:g-3,text:"frequency k (key frequencies in orange)"}));let E=f.map((M,k)=>[M,k+1]).sort((M,k)=>k[0]-M[0]).slice(0,3);r.textContent=E.map(([M,k])=>`k ${k}: ${I(M,2)}`).join(", "),n.replaceChildren(...w)}function kn(s,t,e,n){let r=Math.ceil(18/e);return t.size>8||!t.size?s===1||s%n===0:t.has(s)?![...t].some(o=>o<s&&s-o<r):(s===1||s%n===0)&&![...t].some(o=>Math.abs(o-s)<r)}var $n=[[$e],[ve],[_e],[Me],[Ne,"hands"],[qe],[Ge,"spectrum"],[Be,"attention"],[Ue,"pictures"],[Ke,"neurons"],[De,"pictures"],[He,"pictures"]],vn={spectrum:"spectrum",neurons:"neurons",attention:"attention",pictures:"pictures, logits and pairs",hands:"hands on the model"};function Ht(s,{content:t,arrays:e},{kernel:n,host:r,page:o}){let a=t.runs.map((m,b)=>new Nt(m,e,b));for(let m of a)m.everyStep=!!r?.weights;let i=a[0],c=he({at:i.steps.length-1,axis:"log",a:0,b:a.length>1?1:-1,playing:!1,freq:i.key_freqs[0]??1,picture:i.missing.neurons?"logit":"neuron",neuron:An(i),head:0,logit:0,position:0,read:"margin",pair:_n(i),result:void 0,wrong:"",arrived:"",opened:"",column:void 0,...mt}),l=de({runs:a,state:c,kernel:n,host:r}),d=me(l),f={...i.missing};if(!i.weights.size&&!r)for(let m of["hands","pictures","attention"])f[m]??="no weights are on this page";i.missing=f,c.on(["at","a","arrived"],()=>{let{run:m,step:b}=l.shown()[0];r?.weights&&l.request(m,b),c.set({opened:`${m.index}@${b} by ${l.weightsStep()}`})}),c.on(["from","wayTo","taken","way"],m=>{for(let b of[m.taken&&m.from,m.way&&m.wayTo])b&&l.request(a[b[0]],b[1])});let h=$("header",{class:"about"});c.on(["a","b"],()=>{let m=l.shown().map(({run:b})=>b.name);h.replaceChildren($("h1",{text:m[0]}),m[1]?$("span",{class:"beside",text:`beside ${m[1]} (pale lines)`}):"",$("dl",{},Object.entries(l.shown()[0].run.facts).map(([b,y])=>$("div",{},$("dt",{text:b}),$("dd",{text:y})))),$("p",{class:"said",text:Mn(l.shown()[0].run)}))});let g=$("main",{class:"grid-of-panels"});s.classList.add("cg"),s.replaceChildren(h,d.el,g);let p=new Map;for(let[m,b]of $n)b&&f[b]?p.set(b,f[b]):g.append(m(l));if(p.size){let b=[...new Set(p.values())].map(y=>`${[...p.keys()].filter(x=>p.get(x)===y).map(x=>vn[x]).join(", ")} (${y})`);s.append($("p",{class:"not-shown"},$("b",{text:"Not shown: "}),b.join("; ")))}s.append($("footer",{class:"said",text:`circuitgrok ${t.version}; arrows, home, end move along the run, space plays`}));let u=be(l,o?document:s);return{state:c,context:l,stop:u}}function _n(s){let t=s.arrays["task/inputs"]?.data,e=s.arrays["task/is_train"]?.data;if(!t)return[0,0];let n=e.findIndex((r,o)=>!r&&t[3*o]<t[3*o+1]);return[t[3*Math.max(0,n)],t[3*Math.max(0,n)+1]]}function Mn({key_freqs:s,key_freqs_rule:t,sparsity:e}){return s.length?`key frequencies ${s.length>12?`${s.slice(0,5).join(", ")}, … (${s.length})`:s.join(", ")} (rule ${t}), ${e==="sparse"?"a sparse spectrum":e}`:""}function An(s){let t=s.neurons(s.steps.length-1)?.purity??[0];return t.indexOf(Math.max(...t))}var En={f8:Float64Array,f4:Float32Array,i4:Int32Array,u2:Uint16Array,i2:Int16Array,u1:Uint8Array};function Vt(s){let t=new DataView(s).getUint32(0,!0),{content:e,arrays:n}=JSON.parse(new TextDecoder().decode(new Uint8Array(s,4,t))),r={};for(let[o,[a,i,c]]of Object.entries(n)){let l=i.reduce((d,f)=>d*f,1);r[o]={data:new En[a](s,4+t+c,l),shape:i}}return{content:e,arrays:r}}async function Kt(s){let t=atob(s.trim()),e=new Uint8Array(t.length);for(let r=0;r<t.length;r++)e[r]=t.charCodeAt(r);let n=new Blob([e]).stream().pipeThrough(new DecompressionStream("gzip"));return new Response(n).arrayBuffer()}function Qe(s){return s.buffer.slice(s.byteOffset,s.byteOffset+s.byteLength)}var Ye=`.cg {
  color-scheme: light dark;
  --paper: light-dark(#f5f6f7, #14171a);
  --panel: light-dark(#ffffff, #1c2024);
  --ink: light-dark(#1b1f23, #e4e7ea);
  --dim: light-dark(#59626b, #a0a9b2);
  --faint: light-dark(#e3e6e9, #30363c);
  --edge: light-dark(#cfd4d9, #3a4148);
  --now: light-dark(#1b1f23, #f2f4f5);
  --blue: light-dark(#0072b2, #56b4e9);
  --sky: light-dark(#3a9ad0, #8fd0f5);
  --red: light-dark(#d55e00, #f0823a);
  --green: light-dark(#00805d, #2fc49a);
  --purple: light-dark(#b0558a, #dd94be);
  --orange: light-dark(#b87f00, #e69f00);
  --focus: light-dark(#0a58ca, #7ab8ff);
  --band0: light-dark(#0072b214, #56b4e91c);
  --band1: light-dark(#009e7318, #2fc49a1c);
  --band2: light-dark(#e69f001c, #e69f001c);
  color: var(--ink);
  background: var(--paper);
  font:
    13px/1.4 system-ui,
    "Segoe UI",
    "Helvetica Neue",
    Arial,
    sans-serif;
  font-variant-numeric: tabular-nums;
  padding: 12px 16px 24px;
  box-sizing: border-box;
  min-width: 720px;
}
.cg[data-theme="light"] {
  color-scheme: light;
}
.cg[data-theme="dark"] {
  color-scheme: dark;
}
.cg *,
.cg *::before {
  box-sizing: border-box;
}
.cg h1 {
  font-size: 19px;
  font-weight: 600;
  margin: 0;
  overflow-wrap: anywhere;
}
.cg h2 {
  font-size: 13px;
  font-weight: 600;
  margin: 0;
  white-space: nowrap;
}
.cg p {
  margin: 0;
}
.cg .about {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 2px 18px;
  margin-bottom: 8px;
}
.cg .about dl {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 18px;
  margin: 0;
}
.cg .about dl div {
  display: flex;
  gap: 5px;
}
.cg dt,
.cg .said,
.cg .note,
.cg .beside,
.cg figcaption,
.cg .not-shown,
.cg .reading {
  color: var(--dim);
}
.cg .about dt,
.cg .about dd {
  display: inline;
  float: none;
  width: auto;
  margin: 0;
  padding: 0;
  font-weight: inherit;
}
.cg .beside {
  font-style: italic;
}
.cg .not-shown {
  margin-top: 12px;
}
.cg footer {
  margin-top: 12px;
}

.cg .time {
  position: sticky;
  top: 0;
  z-index: 3;
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 4px;
  padding: 6px 10px 4px;
  margin-bottom: 12px;
}
.cg .time-row {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px 16px;
}
.cg .where {
  min-width: 270px;
}
.cg .where b {
  font-size: 15px;
}
.cg .play {
  min-width: 76px;
}
.cg .slider {
  cursor: ew-resize;
  touch-action: none;
  border-radius: 3px;
}
.cg .strip-line {
  display: block;
  width: 100%;
  height: 70px;
}
.cg .checkpoint {
  stroke: var(--dim);
  stroke-width: 1;
  opacity: 0.7;
}
.cg .kept {
  fill: var(--panel);
  stroke: var(--ink);
  stroke-width: 1.3;
}
.cg .event {
  fill: var(--dim);
}
.cg .event-label {
  font-size: 10px;
}
.cg line.thumb {
  stroke: var(--now);
  stroke-width: 1.5;
}
.cg circle.thumb {
  fill: var(--now);
  stroke: var(--panel);
  stroke-width: 2;
}

.cg .grid-of-panels {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(360px, 1fr));
  gap: 12px;
}
.cg .panel {
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 4px;
  padding: 8px 10px 10px;
  min-width: 0;
  display: flex;
  flex-direction: column;
}
.cg .panel.wide {
  grid-column: span 2;
}
.cg .panel > header {
  display: flex;
  flex-wrap: wrap;
  align-items: baseline;
  gap: 2px 10px;
  margin-bottom: 4px;
  min-height: 24px;
}
.cg .panel .note {
  flex: 1 1 120px;
  font-size: 11.5px;
}
.cg .tools {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px;
}
.cg .body {
  flex: 1;
  display: flex;
  flex-direction: column;
  justify-content: flex-start;
  min-width: 0;
}

.cg .plot {
  display: flex;
  flex-direction: column;
  flex: 1;
}
.cg .chart {
  width: 100%;
  height: 226px;
  flex: 1 0 226px;
  display: block;
  touch-action: none;
}
.cg .chart.short {
  height: 280px;
  flex-basis: 280px;
}
.cg .picked {
  cursor: crosshair;
}
.cg .legend {
  display: flex;
  flex-wrap: wrap;
  gap: 1px 14px;
  min-height: 18px;
  font-size: 11.5px;
}
.cg .entry {
  display: inline-flex;
  align-items: center;
  gap: 5px;
}
.cg .entry b {
  font-weight: 600;
}
.cg .swatch {
  width: 22px;
  height: 8px;
}
.cg svg text {
  font-family: inherit;
}
.cg svg text:not([fill]) {
  fill: var(--ink);
}
.cg .tick {
  font-size: 10.5px;
}
.cg svg .tick:not([fill]),
.cg svg .label,
.cg svg .band-label,
.cg svg .event-label {
  fill: var(--dim);
}
.cg .tick.x {
  text-anchor: middle;
}
.cg .tick.y {
  text-anchor: end;
}
.cg svg .tick.key {
  fill: var(--red);
  font-weight: 700;
}
.cg .label {
  font-size: 11px;
  text-anchor: middle;
}
.cg .grid {
  stroke: var(--faint);
  stroke-width: 1;
}
.cg .axis {
  stroke: var(--dim);
  stroke-width: 1;
}
.cg .line {
  fill: none;
  stroke-width: 1.7;
  stroke-linejoin: round;
}
.cg .line.pale {
  stroke-width: 1.2;
  opacity: 0.5;
}
.cg line.now {
  stroke-width: 1;
  opacity: 0.75;
}
.cg circle.now {
  stroke: var(--panel);
  stroke-width: 1.5;
}
.cg .band.tone0 {
  fill: var(--band0);
}
.cg .band.tone1 {
  fill: var(--band1);
}
.cg .band.tone2 {
  fill: var(--band2);
}
.cg .band-label {
  font-size: 10px;
  text-anchor: middle;
}

.cg .bars {
  width: 100%;
  display: block;
  margin-bottom: 2px;
}
.cg .bar-of {
  fill: var(--dim);
}
.cg .bar-of.key {
  fill: var(--red);
}
.cg .bar-of.off {
  fill: var(--panel);
  stroke: var(--red);
  stroke-dasharray: 2 2;
}
.cg .outline {
  fill: none;
  stroke: var(--ink);
  stroke-width: 0.8;
}
.cg .hit {
  fill: transparent;
  cursor: pointer;
}
.cg .hit:hover {
  fill: var(--faint);
  opacity: 0.6;
}

.cg .heat {
  margin: 0;
  display: grid;
  grid-template-columns: 16px minmax(0, 1fr);
  gap: 2px 3px;
  align-content: start;
}
.cg .heat .small-title {
  grid-column: 2;
  font-size: 11.5px;
}
.cg .row-label {
  writing-mode: vertical-rl;
  transform: rotate(180deg);
  text-align: center;
  font-size: 11px;
  color: var(--dim);
}
.cg .column-label {
  grid-column: 2;
  text-align: center;
  font-size: 11px;
  color: var(--dim);
}
.cg .frame {
  position: relative;
  width: 100%;
}
.cg .heat canvas {
  width: 100%;
  height: 100%;
  display: block;
  image-rendering: pixelated;
}
.cg .mark {
  position: absolute;
  width: 9px;
  height: 9px;
  margin: -4.5px 0 0 -4.5px;
  border: 1.5px solid #fff;
  outline: 1.5px solid #000;
  border-radius: 50%;
  pointer-events: none;
}
.cg .bar {
  grid-column: 2;
  display: flex;
  align-items: center;
  gap: 6px;
  font-size: 11px;
  min-height: 17px;
}
.cg .scale {
  display: inline-block;
  width: 84px;
  height: 8px;
  border: 1px solid var(--edge);
  flex: none;
}
.cg .reading {
  margin-left: auto;
  text-align: right;
}
.cg .multiples {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 6px 10px;
}
.cg .pair-of {
  display: grid;
  grid-template-columns: 1fr 1fr;
  gap: 16px;
}
.cg .neurons {
  display: grid;
  grid-template-columns: minmax(0, 1.25fr) minmax(0, 1fr) minmax(0, 1fr);
  gap: 12px;
}
.cg figure {
  margin: 0;
  min-width: 0;
}
.cg figcaption {
  font-size: 11.5px;
}
.cg .strip {
  width: 100%;
  height: 320px;
  display: block;
}
.cg .ring {
  width: 100%;
  display: block;
}
.cg .ring .tick,
.cg .ring .label {
  font-size: 7px;
}
.cg .ring-label {
  text-anchor: middle;
}
.cg .around {
  fill: none;
  stroke: var(--edge);
  stroke-width: 0.8;
}
.cg .diagonal {
  stroke: var(--dim);
  stroke-dasharray: 3 3;
}
.cg .dot {
  cursor: pointer;
}
.cg .dot.off {
  fill: var(--panel);
  stroke: var(--red);
  stroke-width: 1;
}
.cg .dot.pale {
  opacity: 0.35;
}

.cg .hands-grid {
  display: grid;
  grid-template-columns: minmax(0, 1fr) 296px;
  gap: 16px;
}
.cg .hand {
  display: grid;
  grid-template-columns: 112px minmax(0, 1fr);
  align-items: center;
  padding: 4px 0;
  border-top: 1px solid var(--faint);
}
.cg .hand:first-child {
  border-top: 0;
}
.cg .hand-label {
  color: var(--dim);
}
.cg .hand-body,
.cg .chips {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px;
}
.cg .hand-body {
  gap: 5px 12px;
}
.cg button,
.cg select,
.cg input[type="number"] {
  font: inherit;
  color: inherit;
  background: var(--paper);
  border: 1px solid var(--edge);
  border-radius: 3px;
  padding: 1px 7px;
  min-height: 23px;
}
.cg button {
  cursor: pointer;
}
.cg button:hover {
  border-color: var(--dim);
}
.cg button[aria-pressed="true"] {
  background: var(--ink);
  color: var(--panel);
  border-color: var(--ink);
}
.cg .choice {
  display: inline-flex;
}
.cg .choice button {
  border-radius: 0;
  margin-left: -1px;
}
.cg .choice button:first-child {
  border-radius: 3px 0 0 3px;
  margin-left: 0;
}
.cg .choice button:last-child {
  border-radius: 0 3px 3px 0;
}
.cg .chip {
  min-width: 26px;
  padding: 0 5px;
}
.cg .chip.key {
  border-color: var(--red);
  font-weight: 700;
}
.cg .chip[aria-pressed="true"] {
  background: var(--red);
  border-color: var(--red);
  color: light-dark(#fff, #14171a);
  text-decoration: line-through;
}
.cg input[type="number"] {
  width: 62px;
}
.cg input[type="range"] {
  accent-color: var(--blue);
  width: 180px;
}
.cg select {
  max-width: 230px;
}
.cg .field {
  display: inline-flex;
  align-items: center;
  gap: 5px;
}
.cg .field > span {
  color: var(--dim);
}
.cg output {
  min-width: 44px;
  display: inline-block;
}
.cg :focus-visible {
  outline: 2px solid var(--focus);
  outline-offset: 1px;
}
.cg .scores {
  border-collapse: collapse;
  width: 100%;
}
.cg .scores th {
  text-align: left;
  font-weight: 400;
  color: var(--dim);
  white-space: nowrap;
}
.cg .scores th,
.cg .scores td {
  padding: 3px 6px;
  border-bottom: 1px solid var(--faint);
}
.cg .scores td,
.cg .scores thead th {
  text-align: right;
}
.cg .scores td:last-child {
  font-weight: 600;
}
.cg pre {
  margin: 0;
  padding: 8px 10px;
  background: var(--paper);
  border: 1px solid var(--faint);
  border-radius: 3px;
  overflow: auto;
  font:
    12px/1.5 ui-monospace,
    "DejaVu Sans Mono",
    Menlo,
    Consolas,
    monospace;
  flex: 1;
}

.cg .box {
  display: inline-block;
  width: 11px;
  height: 11px;
  border-radius: 2px;
}
.cg .diagrams {
  display: flex;
  flex-wrap: wrap;
  gap: 10px 24px;
}
.cg .diagram {
  max-width: 100%;
  height: auto;
}
.cg .cell {
  cursor: pointer;
}
.cg .cell.chosen .cell-box {
  stroke: var(--ink);
  stroke-width: 3;
}
.cg .cell-text {
  text-anchor: middle;
  font-size: 12px;
}
.cg .cell-text.boxed {
  paint-order: stroke;
  stroke: var(--panel);
  stroke-width: 3px;
}
.cg .scroll {
  overflow-x: auto;
}
.cg .scores.runs {
  margin-top: 8px;
  white-space: nowrap;
}
.cg .scores.runs td:last-child {
  font-weight: 400;
}

@media print {
  .cg {
    color-scheme: light;
    padding: 0;
    min-width: 0;
    background: #fff;
    font-size: 10px;
  }
  .cg .controls,
  .cg .tools,
  .cg footer {
    display: none;
  }
  .cg .time {
    position: static;
    border: 0;
  }
  .cg .grid-of-panels {
    grid-template-columns: 1fr 1fr;
    gap: 8px;
  }
  .cg .panel {
    break-inside: avoid;
    border-color: #bbb;
  }
  .cg .hands-grid {
    grid-template-columns: 1fr;
  }
  .cg .chart,
  .cg .strip,
  .cg .bars,
  .cg .strip-line {
    height: auto !important;
    flex: none;
  }
  .cg canvas,
  .cg .band,
  .cg .bar-of,
  .cg .scale {
    print-color-adjust: exact;
  }
}
`;var Je={comprehension:"var(--blue)",grokking:"var(--orange)",memorisation:"var(--purple)",confusion:"var(--dim)"},Xe=["var(--blue)","var(--red)","var(--green)","var(--purple)","var(--orange)","var(--sky)"],Ze=s=>[...new Set(s)].sort((t,e)=>typeof t=="number"&&typeof e=="number"?t-e:String(t).localeCompare(String(e))),Sn=s=>/_by$|_loss$|norm$|^r0$/.test(s);function es(s,{content:t,arrays:e}){let{name:n,said:r,fields:o,columns:a,classes:i,cells:c,runs:l}=t.sweep;s.classList.add("cg");let d=o.map(k=>k.name),f={x:d[0],y:d[1],colour:a.some(k=>k.name==="grokked_by")?"grokked_by":a[0].name,cell:0},h=k=>o.find(O=>O.name===k)?.label??"",g=R("Phase diagram",{note:"a cell: median over its runs, runs that grokked / runs; hatched: censored; strip: shares of the classes",wide:!0}),p=R("Runs of the cell",{wide:!0}),u=[o.length&&U("across",d.map(k=>[k,k]),f.x,k=>w({x:k,y:f.y===k?f.x:f.y})),o.length>1&&U("up",d.map(k=>[k,k]),f.y,k=>w({y:k,x:f.x===k?f.y:f.x})),U("colour",a.map(k=>[k.name,k.name]),f.colour,k=>w({colour:k}))];g.tools.append(...u.filter(Boolean).map(k=>k.el));let m=$("div",{class:"legend"},i.map(k=>$("span",{class:"entry"},$("i",{class:"box",style:`background:${Je[k]}`}),$("span",{text:k})))),b=$("div",{class:"diagrams"}),y=$("p",{class:"said"});g.body.append(b,y,m);let x=["acc","loss"].map(k=>lt({xLabel:"optimizer step",yLabel:k==="acc"?"accuracy":"loss",label:`${k} of the cell's runs`})),v=$("table",{class:"scores runs"});p.body.append($("div",{class:"pair-of"},x.map(k=>k.el)),$("div",{class:"scroll"},v)),s.replaceChildren($("header",{class:"about"},$("h1",{text:n}),$("p",{class:"said",text:r})),$("main",{class:"grid-of-panels"},g.el,p.el),$("footer",{class:"said",text:`circuitgrok ${t.version}; a cell opens by click or enter`}));function w(k){Object.assign(f,k),u[0]&&(u[0].input.value=f.x),u[1]&&(u[1].input.value=f.y),_(),M()}function _(){let k=d.filter(C=>C!==f.x&&C!==f.y),O=c.map(C=>C.values[f.colour]).filter(([C,B])=>C!==null&&!B).map(([C])=>C),S=O.filter(C=>C>0),j=Sn(f.colour)&&S.length>0,[L,q]=j?[Math.min(...S),Math.max(...S)]:f.colour.match(/acc|gap/)?[0,1]:[Math.min(...O),Math.max(...O)],N=C=>q>L?j?Math.log(Math.max(C,L)/L)/Math.log(q/L):(C-L)/(q-L):.5,F=a.find(C=>C.name===f.colour).label;y.textContent=O.length?`colour: ${F}, from ${I(L)} (dark) to ${I(q)} (bright)${j?", logarithmic":""}`:`colour: ${F}, not known of any cell`;let z=new Map;c.forEach((C,B)=>{let W=k.map(T=>`${T} = ${C.setting[T]}`).join(", ");z.set(W,[...z.get(W)??[],B])});let J=f.x?Ze(c.map(C=>C.setting[f.x])):["all runs"],X=f.y?Ze(c.map(C=>C.setting[f.y])).reverse():[""];b.replaceChildren(...[...z].map(([C,B])=>E(C,B,J,X,N)))}function E(k,O,S,j,L){let[q,N,F,z,J]=[Math.max(64,Math.min(150,620/S.length)),58,f.y?74:12,k?22:6,40],[X,C]=[F+S.length*q+8,z+j.length*N+J],B=A("svg",{class:"diagram",viewBox:`0 0 ${X} ${C}`,style:`width:${X}px`,role:"group","aria-label":`phase diagram ${k}`},A("defs",{},A("pattern",{id:"hatch",width:7,height:7,patternUnits:"userSpaceOnUse",patternTransform:"rotate(45)"},A("rect",{width:7,height:7,fill:"var(--faint)"}),A("line",{x1:0,y1:0,x2:0,y2:7,stroke:"var(--dim)","stroke-width":1.2}))));k&&B.append(A("text",{x:F,y:14,text:k}));for(let W of O){let T=c[W],[et,nt]=T.values[f.colour],ut=F+(f.x?S.indexOf(T.setting[f.x]):0)*q,It=z+(f.y?j.indexOf(T.setting[f.y]):0)*N,pt=et===null?void 0:ze(L(et)),Qt=[et===null?"no record":`${nt?"> ":""}${I(et)}`,`${T.n_grokked}/${T.n}${T.n_missing?`, ${T.n_missing} not done`:""}`],os=Object.entries(T.setting).map(([D,Z])=>`${D} ${Z}`).join(", "),kt=A("g",{class:W===f.cell?"cell chosen":"cell",tabindex:0,role:"button","aria-label":`${os}: ${Qt.join("; ")}`,"aria-pressed":String(W===f.cell),"data-cell":W},A("rect",{class:"cell-box",x:ut+1.5,y:It+1.5,width:q-3,height:N-3,fill:nt||!pt?"url(#hatch)":pt.css}),...Qt.map((D,Z)=>A("text",{class:nt||!pt?"cell-text boxed":"cell-text",x:ut+q/2,y:It+21+14*Z,fill:nt||!pt?"var(--ink)":pt.ink,text:D}))),Lt=i.reduce((D,Z)=>D+T[Z],0),Yt=ut+1.5;for(let D of i){let Z=Lt?(q-3)*T[D]/Lt:0;Z&&kt.append(A("rect",{x:Yt,y:It+N-9,width:Z,height:7.5,style:`fill:${Je[D]}`},A("title",{text:`${D}: ${T[D]} of ${Lt}`}))),Yt+=Z}let Jt=()=>{w({cell:W}),b.querySelector(`[data-cell="${W}"]`)?.focus()};kt.addEventListener("click",Jt),kt.addEventListener("keydown",D=>{D.key!=="Enter"&&D.key!==" "||(D.preventDefault(),Jt())}),B.append(kt)}return S.forEach((W,T)=>B.append(A("text",{class:"tick x",x:F+(T+.5)*q,y:z+j.length*N+14,text:String(W)}))),f.y&&j.forEach((W,T)=>B.append(A("text",{class:"tick y",x:F-6,y:z+(T+.5)*N+4,text:String(W)}))),f.x&&B.append(A("text",{class:"label",x:F+S.length*q/2,y:C-8,text:h(f.x)})),f.y&&B.append(A("text",{class:"label",x:0,y:0,transform:`translate(12 ${z+j.length*N/2}) rotate(-90)`,text:h(f.y).length*6<j.length*N+30?h(f.y):f.y})),B}function M(){let k=c[f.cell],O=k.runs.filter(N=>e[`${N}/step`]),S=Object.entries(k.setting).map(([N,F])=>`${N} = ${F}`).join(", ");p.say(S||"all runs");let j=O.map(N=>({last:e[`${N}/step`].data.at(-1),events:[]}));if(O.length){let N=St("log",j[0],j),F={at:z=>z,ticks:N.ticks.map(N.at),format:z=>P(N.step(z))};x.forEach((z,J)=>{let X=J?"loss":"acc",C=O.flatMap((W,T)=>["train","test"].map(et=>{let nt=e[`${W}/${et}_${X}`];return nt&&{label:et==="test"?Nn(l[W]):void 0,colour:Xe[T%Xe.length],dash:et==="train"?"2 3":void 0,x:Array.from(e[`${W}/step`].data,ut=>N.at(ut)),y:nt.data}}).filter(Boolean)),B=J?tt(C.map(W=>W.y),!0):{at:W=>(W+.02)/1.04,ticks:[0,.25,.5,.75,1],format:String};z.draw({x:F,y:B,series:C,yLabel:`${J?"loss":"accuracy"} (dotted: train)`})})}let L=["run","state","class","memorised by","grokked by","train loss","test loss","train acc","test acc","norm at the end"],q=N=>[N.name,N.state,N.class??"–",ts(N,"memorised"),ts(N,"grokked"),...["train_loss","test_loss","train_acc","test_acc","final_norm"].map(F=>I(N[F],4))];v.replaceChildren($("thead",{},$("tr",{},L.map(N=>$("th",{scope:"col",text:N})))),$("tbody",{},k.runs.map(N=>$("tr",{},q(l[N]).map((F,z)=>z?$("td",{text:F}):$("th",{scope:"row",text:F}))))))}w({})}var ts=(s,t)=>s[`${t}_by`]!==null?P(s[`${t}_by`]):s.steps!==null?`> ${P(s.steps)}`:"–",Nn=s=>s.seed!==void 0&&s.seed!==null?`seed ${s.seed}`:s.name;var Gt=s=>s instanceof ArrayBuffer?new DataView(s):s;function ss(s){let t=document.body.dataset.jpThemeLight;t!==void 0?s.dataset.theme=t==="true"?"light":"dark":document.body.classList.contains("vscode-dark")?s.dataset.theme="dark":document.body.classList.contains("vscode-light")&&(s.dataset.theme="light")}function ns({model:s,el:t,inspector:e,unpack:n,aligned:r,load:o}){t.dataset.lmSuppressShortcuts="true",ss(t);let a=new MutationObserver(()=>ss(t));a.observe(document.body,{attributes:!0,attributeFilter:["data-jp-theme-light","class"]});let i,c=!1,l=(f,h)=>{if(f.kind!=="weights"||!i)return;let{arrays:g}=n(r(Gt(h[0])));i.context.received(f.run,f.step,g)};s.on("msg:custom",l);async function d(){let f=s.get("kernel"),h=await o(f?.byteLength?r(Gt(f)):void 0);if(c)return;let g={weights:(x,v)=>s.send({kind:"weights",run:x,step:v})};i=e(t,n(r(Gt(s.get("payload")))),{kernel:h,host:g});let{state:p,context:u}=i,m=()=>{let x=s.get("selected"),v=u.runs[x.run??0]??u.runs[0];p.set({a:v.index,at:v.nearest(x.step),neurons:[...x.neurons??[]],off:[...x.frequencies??[]]})};s.on("change:selected",m),m();let b=x=>[...x??[]].sort((v,w)=>v-w),y=()=>{let{run:x=0,step:v,neurons:w,frequencies:_}=s.get("selected");return JSON.stringify({run:x,step:v,neurons:b(w),frequencies:b(_)})};p.on(["a","at","neurons","off"],x=>{let v=u.runs[x.a],w={run:x.a,step:v.steps[x.at],neurons:b(x.neurons),frequencies:b(x.off)};JSON.stringify(w)!==y()&&(s.set("selected",w),s.save_changes())}),t.dataset.ready="true"}return d().catch(f=>{t.textContent=`The inspector could not be shown: ${f.message}`,console.error(f)}),()=>{c=!0,a.disconnect(),s.off("msg:custom",l),i?.stop()}}function rs(s){let t=document.createElement("style");t.textContent=Ye,s.append(t)}async function qn(){rs(document.head);let s=document.getElementById("root");try{let t=Vt(await Kt(document.getElementById("circuitgrok-payload").textContent));if(t.content.sweep)es(s,t);else{let e=document.getElementById("circuitgrok-kernel"),n=await gt.load(e?await Kt(e.textContent):void 0);globalThis.circuitgrok=Ht(s,t,{kernel:n,page:!0})}s.dataset.ready="true"}catch(t){throw s.textContent=`This page could not be shown: ${t.message}`,t}}var $o={render({model:s,el:t}){let e=document.createElement("div");return rs(t),t.append(e),ns({model:s,el:e,inspector:Ht,unpack:Vt,aligned:Qe,load:n=>gt.load(n)})}};document.getElementById("circuitgrok-payload")&&qn();export{$o as default};
